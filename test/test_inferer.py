from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from swfastedit_core import inferer
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.engine import (
    TorchEngine,
    difference_network,
    resolve_device,
    resolve_precision,
)
from swfastedit_core.errors import UserError, is_out_of_memory
from swfastedit_core.inferer import UNSEEN_LOGIT, infer
from swfastedit_core.windows import WindowPlan, plan_windows

CPU = torch.device("cpu")
UNPADDED = ((0, 0), (0, 0), (0, 0))


class EchoEngine:
    """Returns its windows as logits; holds at most `room` of them at a time."""

    name, source, device, precision, default_batch = "echo", "echo.safetensors", CPU, "float32", 4
    config = SimpleNamespace(window=(4, 4, 4))

    def __init__(self, room=1000):
        self.room = room
        self.batches = []

    def __call__(self, windows):
        self.batches.append(len(windows))
        if len(windows) > self.room:
            raise MemoryError
        return windows[:, 0].clone()

    def working_set_bytes(self, batch):
        return batch * 3_000_000_000


def random_image(shape, seed=0):
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 13, 4), (3, 2, 11), (1, 1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_blending_windows_that_agree_changes_nothing(shape, overlap):
    image = random_image(shape)
    plan = plan_windows(shape, window=(4, 4, 4), overlap=overlap)
    torch.testing.assert_close(infer(image, plan, EchoEngine()), image[0], atol=1e-5, rtol=1e-5)


def test_voxels_that_no_window_saw_are_background():
    plan = WindowPlan((2, 2, 2), UNPADDED, Box((0, 0, 0), (4, 4, 2)), ((0, 0, 0), (2, 2, 0)))
    logits = infer(torch.full((1, 4, 4, 2), 5.0), plan, EchoEngine())
    assert logits[0, 0, 0].item() == pytest.approx(5.0)
    assert logits[3, 3, 1].item() == pytest.approx(5.0)
    assert logits[0, 3, 0].item() == UNSEEN_LOGIT
    assert (logits == UNSEEN_LOGIT).sum().item() == 16


def test_blend_is_weighted_by_the_gaussian():
    class TwoOpinions(EchoEngine):
        def __call__(self, windows):
            return torch.stack([torch.full((3, 1, 1), float(i)) for i in range(len(windows))])

    plan = WindowPlan((3, 1, 1), UNPADDED, Box((0, 0, 0), (5, 1, 1)), ((0, 0, 0), (2, 0, 0)))
    logits = infer(torch.zeros(1, 5, 1, 1), plan, TwoOpinions()).flatten()
    assert logits.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])  # the edges of both weigh the same
    plan = WindowPlan((3, 1, 1), UNPADDED, Box((0, 0, 0), (4, 1, 1)), ((0, 0, 0), (1, 0, 0)))
    logits = infer(torch.zeros(1, 4, 1, 1), plan, TwoOpinions()).flatten()
    edge = 0.02856550  # exp(-1 / (2 (3/8)²)), the weight one voxel from the middle
    assert logits[1].item() == pytest.approx(edge / (1 + edge), rel=1e-4)


def test_batch_halves_when_memory_runs_out_and_nothing_is_lost():
    image, engine = random_image((10, 4, 4)), EchoEngine(room=1)
    plan = plan_windows((10, 4, 4), window=(4, 4, 4), overlap=0.5)
    assert len(plan.starts) == 4
    torch.testing.assert_close(infer(image, plan, engine, batch=4), image[0], atol=1e-5, rtol=1e-5)
    assert engine.batches == [4, 2, 1, 1, 1, 1]


def test_other_errors_are_not_taken_for_memory():
    class Buggy(EchoEngine):
        def __call__(self, windows):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        infer(random_image((8, 8, 8)), plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), Buggy())


def test_one_window_too_many_says_what_would_be_needed():
    plan = plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5)
    with pytest.raises(UserError, match=r"out of memory on cpu: one window of 4×4×4 needs about 3\.0 GB in float32"):
        infer(random_image((8, 8, 8)), plan, EchoEngine(room=0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_output_that_is_no_number_is_refused(value):
    class Broken(EchoEngine):
        def __call__(self, windows):
            return torch.full_like(windows[:, 0], value)

    with pytest.raises(UserError, match=r"echo\.safetensors: the network's output is not finite in float32"):
        infer(random_image((8, 8, 8)), plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), Broken())


def test_progress_counts_every_window():
    plan, seen = plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), []
    infer(random_image((8, 8, 8)), plan, EchoEngine(), batch=5, progress=seen.append)
    assert seen == [5, 10, 15, 20, 25, 27]


def test_result_does_not_depend_on_the_batch(narrow_checkpoint):
    engine = TorchEngine(read_checkpoint(narrow_checkpoint), device=CPU, precision="float32")
    image = random_image((80, 64, 70)).abs()
    plan = plan_windows((80, 64, 70), window=(64, 64, 64), overlap=0.75)
    one, three = (infer(image, plan, engine, batch=batch) for batch in (1, 3))
    torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


def test_engine_gives_the_difference_of_the_two_classes(narrow_checkpoint):
    checkpoint = read_checkpoint(narrow_checkpoint)
    windows = random_image((64, 64, 32))[None]
    with torch.inference_mode():
        logits = checkpoint.network()(windows)
    engine = TorchEngine(checkpoint, device=CPU, precision="float32")
    torch.testing.assert_close(engine(windows), logits[:, 1] - logits[:, 0], atol=1e-5, rtol=1e-5)


def test_folded_network_has_one_output(narrow_checkpoint):
    network = difference_network(read_checkpoint(narrow_checkpoint).network())
    assert tuple(network.output_block.conv.conv.weight.shape) == (1, 4, 1, 1, 1)


def test_bfloat16_stays_close_to_float32(narrow_checkpoint):
    checkpoint, windows = read_checkpoint(narrow_checkpoint), random_image((64, 64, 64))[None].abs()
    exact = TorchEngine(checkpoint, device=CPU, precision="float32")(windows)
    rough = TorchEngine(checkpoint, device=CPU, precision="bfloat16")(windows)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.03 * exact.std()
    assert not torch.equal(rough, exact)


@pytest.mark.parametrize(
    ("free", "fails", "used"),
    [
        (6_000, (), ["cuda"]),  # 2 accumulators of 4 × 5³ = 1,000 bytes, twice, beside 4,000 of the network
        (5_999, (), ["cpu"]),
        (6_000, ("cuda",), ["cuda", "cpu"]),
    ],
)
def test_accumulators_go_to_the_host_when_the_gpu_is_full(free, fails, used, monkeypatch):
    """The GPU is played: only sizes and places are asked for here."""
    asked, zeros = [], torch.zeros

    def allocate(shape, device):
        asked.append(device.type)
        if device.type in fails:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return zeros(shape)

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - 1_000, 10**6))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1_500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)
    monkeypatch.setattr(torch, "zeros", allocate)
    engine = SimpleNamespace(device=torch.device("cuda:0"), working_set_bytes=lambda batch: 1_000 * batch)
    logits, total = inferer._accumulators((5, 5, 10), engine, 2)
    assert asked == [place for place in used for _ in range(1 if place in fails else 2)]
    assert logits.shape == total.shape == (5, 5, 10)


def test_real_allocation_failures_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    assert not is_out_of_memory(OSError("out of memory bank"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_engine_survives_a_batch_beyond_memory(narrow_checkpoint):
    engine = TorchEngine(read_checkpoint(narrow_checkpoint), device=CPU, precision="float32")
    window = torch.zeros(1, 1, 64, 64, 64).expand(2**28, 1, 64, 64, 64)  # 281 TB once it is copied
    with pytest.raises(RuntimeError) as caught:
        engine(window)
    assert is_out_of_memory(caught.value)
    assert engine(window[:1]).shape == (1, 64, 64, 64)


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "cuda:x", ""])
def test_device_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="device"):
        resolve_device(name)


def test_precision_is_resolved_for_the_device():
    assert resolve_precision("auto", torch.device("cuda:0")) == "float16"
    assert resolve_precision("auto", CPU) in ("bfloat16", "float32")
    assert resolve_precision("float32", CPU) == "float32"
    with pytest.raises(UserError, match="float16"):
        resolve_precision("float16", CPU)
    with pytest.raises(UserError, match="int8"):
        resolve_precision("int8", CPU)
