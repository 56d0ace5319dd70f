from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from fake_engine import FakeEngine

from swfastedit_core import blending, inferer
from swfastedit_core.blending import UNSEEN_LOGIT
from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import UserError, is_out_of_memory
from swfastedit_core.inferer import infer
from swfastedit_core.windows import WindowPlan, plan_windows


class EchoEngine(FakeEngine):
    """Returns its windows as logits."""

    config = SimpleNamespace(window=(4, 4, 4), channels=Channels.PET, clicks=None)

    def __call__(self, windows):
        return windows[:, 0].clone()


def random_image(shape, seed=0):
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 13, 4), (3, 2, 11), (1, 1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_blending_windows_that_agree_changes_nothing(shape, overlap):
    image = random_image(shape)
    plan = plan_windows(shape, window=(4, 4, 4), overlap=overlap)
    torch.testing.assert_close(infer(image, plan, EchoEngine()), image[0], atol=1e-5, rtol=1e-5)


def test_voxels_that_no_window_saw_are_background():
    plan = WindowPlan((4, 4, 2), (2, 2, 2), ((0, 0, 0), (2, 2, 0)))
    logits = infer(torch.full((1, 4, 4, 2), 5.0), plan, EchoEngine())
    assert logits[0, 0, 0].item() == pytest.approx(5.0)
    assert logits[3, 3, 1].item() == pytest.approx(5.0)
    assert logits[0, 3, 0].item() == UNSEEN_LOGIT
    assert (logits == UNSEEN_LOGIT).sum().item() == 16


def test_blend_is_weighted_by_the_gaussian():
    class TwoOpinions(EchoEngine):
        batch = 2

        def __call__(self, windows):
            return torch.stack([torch.full((3, 1, 1), float(i)) for i in range(len(windows))])

    plan = WindowPlan((5, 1, 1), (3, 1, 1), ((0, 0, 0), (2, 0, 0)))
    logits = infer(torch.zeros(1, 5, 1, 1), plan, TwoOpinions()).flatten()
    assert logits.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])  # the edges of both weigh the same
    plan = WindowPlan((4, 1, 1), (3, 1, 1), ((0, 0, 0), (1, 0, 0)))
    logits = infer(torch.zeros(1, 4, 1, 1), plan, TwoOpinions()).flatten()
    edge = 0.02856550  # exp(-1 / (2 (3/8)²)), the weight one voxel from the middle
    assert logits[1].item() == pytest.approx(edge / (1 + edge), rel=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_output_that_is_no_number_is_refused(value):
    class Broken(EchoEngine):
        def __call__(self, windows):
            return torch.full_like(windows[:, 0], value)

    with pytest.raises(UserError, match=r"fake\.safetensors: the network's output is not finite in float32"):
        infer(random_image((8, 8, 8)), plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), Broken())


def test_progress_counts_every_window():
    plan, seen = plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), []
    infer(random_image((8, 8, 8)), plan, EchoEngine(), progress=seen.append)
    assert seen == list(range(1, 28))


@pytest.mark.parametrize(
    ("free", "fails", "used"),
    [
        (6_000, (), ["cuda"]),  # 4 × 5 × 5 × 10 = 1,000 bytes, twice, beside 4,000 of the network
        (5_999, (), ["cpu"]),
        (6_000, ("cuda",), ["cuda", "cpu"]),
    ],
)
def test_logits_go_to_the_host_when_the_gpu_is_full(free, fails, used, monkeypatch):
    """Without a GPU: the test checks sizes and devices only."""
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
    engine = SimpleNamespace(device=torch.device("cuda:0"), working_set_bytes=lambda batch: 4_000 * batch)
    plan = plan_windows((5, 5, 10), window=(5, 5, 10), overlap=0.0)
    monkeypatch.setattr(blending, "gaussian_weights", lambda window: SimpleNamespace(to=lambda device: None))
    inferer._blend(plan.region, plan.window, engine)
    assert asked == used


def test_real_allocation_failures_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("Exception from src/inference/src/dev/plugin.cpp:54:\ncan't alloc"))
    assert is_out_of_memory(RuntimeError("unable to mmap 124002360 bytes from file <w>: Cannot allocate memory (12)"))
    assert is_out_of_memory(RuntimeError("Check 'ptr' failed\nFailed to allocate 301989888 bytes of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    for part in ("DEVICE", "HOST"):
        text = f"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_{part}_ALLOCATION_FAILED"
        assert is_out_of_memory(RuntimeError(text))
    no_kernel = RuntimeError("FIND was unable to find an engine to execute this computation")
    assert is_out_of_memory(no_kernel, windows=2)
    assert not is_out_of_memory(no_kernel)
    assert not is_out_of_memory(OSError("out of memory bank"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_image_that_does_not_fit_plan_or_network_is_refused():
    plan = plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5)
    for shape in ((1, 8, 8, 9), (2, 8, 8, 8)):
        with pytest.raises(ValueError, match=r"expected \(1, 8, 8, 8\)"):
            infer(torch.zeros(shape), plan, EchoEngine())
