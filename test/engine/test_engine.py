from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from places import ROOT
from torch.nn import functional

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_checkpoint
from swfastedit_core.engine import make_engine, openvino_engine, resolve_device, resolve_precision
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.engine.openvino_engine import OpenVinoEngine
from swfastedit_core.engine.openvino_graph import merged_kernel
from swfastedit_core.engine.torch_engine import TorchEngine, difference_network
from swfastedit_core.errors import DataWarning, NotFiniteError, UserError, WindowTooLargeError, is_out_of_memory
from swfastedit_core.inferer import infer
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import ARCHITECTURES, NetworkConfig, build_network
from swfastedit_core.phantom import make_phantom
from swfastedit_core.pipeline import segment, warm_up
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.volume import Geometry
from swfastedit_core.windows import plan_windows

CPU = torch.device("cpu")
ROUNDING = 1e-4  # of logits in float32


def random_image(shape, seed=0):
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


def random_checkpoint(name="dynunet", filters=(), channels=Channels.PET, window=(64, 64, 64)):
    torch.manual_seed(7)
    network = NetworkConfig(name, filters, in_channels=channels.count)
    config = CheckpointConfig(network, channels=channels, window=window)
    return Checkpoint(Path(f"{name}.safetensors"), config, build_network(network).state_dict())


@pytest.fixture(params=["torch", "openvino"])
def engine_name(request):
    return request.param


def engine_of(checkpoint, engine_name, precision="float32", batch=None):
    return make_engine(checkpoint, device=CPU, precision=precision, engine=engine_name, batch=batch)


def answer(engine, *windows):
    return torch.stack([logits.clone() for logits in engine.stream(windows)])


@pytest.mark.parametrize("name", list(ARCHITECTURES))
@pytest.mark.parametrize("channels", [Channels.PET, pytest.param(Channels.PET_CT, marks=pytest.mark.long)])
def test_openvino_computes_what_torch_does(name, channels):
    filters = tuple(4 + 4 * (level % 2) for level in range(len(ARCHITECTURES[name].filters)))
    x, y, z = NetworkConfig(name).divisor_xyz
    window = (x, 2 * y, z)  # the smallest
    checkpoint = random_checkpoint(name, filters, channels, window=window)
    image = torch.randn(channels.count, *window, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        both = checkpoint.network().double()(image[None].double())
    exact = both[:, 1] - both[:, 0]
    found = {engine_name: answer(engine_of(checkpoint, engine_name), image) for engine_name in ("torch", "openvino")}
    for logits in found.values():
        assert (logits - exact).abs().mean() < 1e-3 * exact.std()
        assert (logits - exact).abs().max() < 0.02 * exact.std()
    assert found["torch"].shape == (1, *window)


def test_result_does_not_depend_on_the_batch(engine_name):
    image = random_image((40, 32, 35)).abs()
    plan = plan_windows((40, 32, 35), window=(32, 32, 32), overlap=0.75)
    assert len(plan.starts) == 4
    checkpoint = random_checkpoint(filters=(4, 4, 8, 8, 8, 8), window=(32, 32, 32))
    one, three = (infer(image, plan, engine_of(checkpoint, engine_name, batch=batch)) for batch in (1, 3))
    torch.testing.assert_close(one, three, atol=ROUNDING, rtol=1e-4)


def test_engine_gives_the_difference_of_the_two_classes(narrow_checkpoint, engine_name):
    checkpoint = read_checkpoint(narrow_checkpoint)
    windows = random_image((64, 64, 64))[None]
    with torch.inference_mode():
        logits = checkpoint.network()(windows)
    found, expected = answer(engine_of(checkpoint, engine_name), windows[0]), logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=1e-4)


def test_folded_network_computes_the_difference_of_the_two_classes(narrow_checkpoint):
    checkpoint = read_checkpoint(narrow_checkpoint)
    window = random_image((32, 32, 32))[None]
    with torch.inference_mode():
        logits = checkpoint.network()(window)
        folded = difference_network(checkpoint.network())(window)
    torch.testing.assert_close(folded, logits[:, 1:] - logits[:, :1], atol=ROUNDING, rtol=1e-4)


def test_float32_is_as_exact_as_torch_in_a_large_window_with_constant_air():
    """A long sum of equal numbers loses digits in float32. OpenVINO's own normalisation is wrong by 0.3 here."""
    checkpoint = random_checkpoint(filters=(4, 4, 8, 8, 8, 8), window=(128, 128, 128))
    window = torch.zeros(1, 128, 128, 128)
    window[:, 24:104, 24:104, 24:104] = torch.nn.functional.interpolate(
        random_image((8, 8, 8)).abs()[None] / 4, size=(80, 80, 80), mode="trilinear"
    )[0]
    with torch.inference_mode():
        both = checkpoint.network()(window[None])
    expected = both[:, 1] - both[:, 0]
    logits = answer(engine_of(checkpoint, "openvino"), window)
    assert (logits - expected).abs().max() < 2e-4 * expected.std()


def test_bfloat16_stays_close_to_float32(narrow_checkpoint, engine_name):
    checkpoint, window = read_checkpoint(narrow_checkpoint), random_image((64, 64, 64)).abs()
    exact = answer(engine_of(checkpoint, engine_name), window)
    if engine_name == "openvino" and resolve_precision("auto", CPU) != "bfloat16":
        pytest.skip("this CPU has no instructions for bfloat16")
    rough = answer(engine_of(checkpoint, engine_name, "bfloat16"), window)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.03 * exact.std()
    assert not torch.equal(rough, exact)


@pytest.mark.parametrize(
    ("name", "first", "channels", "window"),
    [
        ("dynunet", 32, Channels.PET, (64, 64, 64)),
        ("dynunet", 32, Channels.PET_CT, (64, 64, 96)),
        ("smalldynunet", 32, Channels.PET, (64, 64, 20)),
        ("smalldynunet", 32, Channels.PET_CT, (32, 64, 18)),
        ("dynunet", 8, Channels.PET_CT, (96, 96, 96)),
    ],
)
@pytest.mark.parametrize(("precision", "mean"), [("float32", 1e-3), ("auto", 0.03)])
def test_openvino_computes_what_torch_does_for_wide_networks_and_odd_windows(
    name, first, channels, window, precision, mean
):
    filters = (first, *[16] * (len(ARCHITECTURES[name].filters) - 1))
    checkpoint = random_checkpoint(name, filters, channels, window=window)
    image = torch.randn((channels.count, *window), generator=torch.Generator().manual_seed(1)).abs()
    with torch.inference_mode():
        both = checkpoint.network()(image[None])
    expected = both[:, 1] - both[:, 0]
    found = answer(engine_of(checkpoint, "openvino", precision), image)
    assert (found - expected).abs().mean() < mean * expected.std()


@pytest.mark.parametrize(
    "first", [4, 8, 16, 32, *(pytest.param(width, marks=pytest.mark.long) for width in (6, 12, 20, 24, 28, 40))]
)
def test_openvino_is_right_in_the_default_precision_for_every_width(first):
    """oneDNN's matrix units take another way for every number of channels, and not every way is right."""
    checkpoint = random_checkpoint(filters=(first, 2 * first, 2 * first, 16, 16, 16), window=(64, 64, 64))
    window = random_image((64, 64, 64)).abs()
    with torch.inference_mode():
        both = checkpoint.network()(window[None])
    expected = both[:, 1] - both[:, 0]
    found = answer(engine_of(checkpoint, "openvino", "auto"), window)
    assert (found - expected).abs().mean() < 0.03 * expected.std()


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2), (2, 1, 1)])
def test_merged_kernel_is_both_convolutions(stride):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((1, 3, 5, 4, 6), generator=generator)
    transposed = torch.randn((3, 4, *stride), generator=generator)
    following = torch.randn((2, 4, 3, 3, 1), generator=generator)
    upsampled = functional.conv_transpose3d(x, transposed, stride=stride)
    expected = functional.conv3d(upsampled, following, padding=(1, 1, 0))
    merged = torch.from_numpy(merged_kernel(transposed.numpy(), following.numpy()))
    found = functional.conv_transpose3d(x, merged, stride=stride, padding=(1, 1, 0))
    torch.testing.assert_close(found, expected)


def test_openvino_is_what_cpus_run_on_unless_it_is_missing(narrow_checkpoint, monkeypatch):
    checkpoint = read_checkpoint(narrow_checkpoint)
    assert engine_of(checkpoint, "auto").name == "openvino"
    assert engine_of(checkpoint, "torch").name == "torch"
    monkeypatch.setattr("swfastedit_core.engine.find_spec", lambda name: None)
    assert engine_of(checkpoint, "auto").name == "torch"
    with pytest.raises(UserError, match="'openvino' is not installed"):
        engine_of(checkpoint, "openvino")


def test_openvino_is_refused_on_a_gpu(narrow_checkpoint):
    with pytest.raises(UserError, match="'openvino' does not run on cuda:0"):
        make_engine(read_checkpoint(narrow_checkpoint), device=torch.device("cuda:0"), engine="openvino")


def test_unknown_engine_is_refused(narrow_checkpoint):
    with pytest.raises(UserError, match="engine 'tensorrt', expected one of auto, openvino, torch"):
        engine_of(read_checkpoint(narrow_checkpoint), "tensorrt")


def test_windows_run_side_by_side_as_far_as_processors_and_memory_go(monkeypatch):
    monkeypatch.setattr(openvino_engine, "available_cpus", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    small, large = random_checkpoint(filters=(4,) * 6), random_checkpoint(filters=(32,) * 6, window=(128,) * 3)
    assert engine_of(small, "openvino").batch == 4
    assert engine_of(large, "openvino", "float32").batch == 1
    assert engine_of(large, "openvino", "bfloat16").batch == 3
    assert engine_of(large, "openvino", batch=2).batch == 2


def test_openvino_uses_no_more_threads_than_torch_may(narrow_checkpoint):
    """What counts is what the compiled network says of itself."""
    code = (
        "import sys, torch; from swfastedit_core import load_networks; torch.set_num_threads(1);"
        "engine, = load_networks(sys.argv[1], engine='openvino');"
        "print(engine._compiled.result().get_property('INFERENCE_NUM_THREADS'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(narrow_checkpoint)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


class Fails:
    """A compiled network whose requests run out of memory when windows run side by side."""

    def __init__(self, compiled, side_by_side):
        self.compiled, self.fails = compiled, side_by_side > 1

    def create_infer_request(self):
        request = self.compiled.create_infer_request()
        if not self.fails:
            return request

        def wait():
            request.wait()
            raise RuntimeError("std::bad_alloc")

        names = ("get_input_tensor", "start_async", "get_output_tensor")
        return SimpleNamespace(wait=wait, **{name: getattr(request, name) for name in names})


def test_openvino_goes_on_with_one_window_at_a_time_and_loses_none(narrow_checkpoint, monkeypatch, caplog):
    compile_ = OpenVinoEngine._compile
    monkeypatch.setattr(OpenVinoEngine, "_compile", lambda self, n: Fails(compile_(self, n), n))
    checkpoint = read_checkpoint(narrow_checkpoint)
    windows = [random_image((64, 64, 64), seed) for seed in range(5)]
    engine = engine_of(checkpoint, "openvino", batch=3)
    found = answer(engine, *windows)
    monkeypatch.undo()
    torch.testing.assert_close(found, answer(engine_of(checkpoint, "openvino", batch=1), *windows))
    assert engine.batch == 1
    assert caplog.messages == ["memory ran out with 3 windows at a time, going on with 1"]


def test_openvino_that_cannot_be_compiled_for_several_windows_is_for_one(narrow_checkpoint, monkeypatch):
    compile_ = OpenVinoEngine._compile

    def fails(self, side_by_side):
        if side_by_side > 1:
            raise RuntimeError("std::bad_alloc")
        return compile_(self, side_by_side)

    monkeypatch.setattr(OpenVinoEngine, "_compile", fails)
    engine = engine_of(read_checkpoint(narrow_checkpoint), "openvino", batch=3)
    engine.wait()
    assert answer(engine, random_image((64, 64, 64))).isfinite().all()
    assert engine.batch == 1


def test_openvino_is_compiled_again_when_there_may_be_memory_again(narrow_checkpoint, monkeypatch):
    compile_, failures = OpenVinoEngine._compile, [RuntimeError("can't alloc"), RuntimeError("can't alloc")]

    def fails_twice(self, side_by_side):
        if failures:
            raise failures.pop()
        return compile_(self, side_by_side)

    monkeypatch.setattr(OpenVinoEngine, "_compile", fails_twice)
    engine = engine_of(read_checkpoint(narrow_checkpoint), "openvino", batch=1)
    engine.wait()
    window = random_image((64, 64, 64))
    with pytest.raises(WindowTooLargeError):
        answer(engine, window)
    assert answer(engine, window).isfinite().all()


def test_bfloat16_is_refused_where_openvino_would_run_float32_instead(narrow_checkpoint, monkeypatch):
    monkeypatch.setattr("swfastedit_core.engine.cpu_has_bfloat16", lambda: False)
    checkpoint = read_checkpoint(narrow_checkpoint)
    with pytest.raises(UserError, match="this CPU has no instructions for it"):
        engine_of(checkpoint, "auto", "bfloat16")
    assert engine_of(checkpoint, "torch", "bfloat16").precision == "bfloat16"


def test_openvino_says_what_one_window_needs(narrow_checkpoint, monkeypatch):
    compile_ = OpenVinoEngine._compile
    monkeypatch.setattr(OpenVinoEngine, "_compile", lambda self, n: Fails(compile_(self, n), 2))
    engine = engine_of(read_checkpoint(narrow_checkpoint), "openvino")
    with pytest.raises(UserError, match=r"out of memory on cpu: one window of 64×64×64 needs about 0\.1 GB in float32"):
        answer(engine, random_image((64, 64, 64)))


def test_stream_that_is_left_early_can_be_begun_again(narrow_checkpoint, engine_name):
    engine = engine_of(read_checkpoint(narrow_checkpoint), engine_name, batch=2)
    windows = [random_image((64, 64, 64), seed) for seed in range(4)]
    stream = engine.stream(iter(windows))
    next(stream)
    stream.close()
    torch.testing.assert_close(answer(engine, windows[3]), answer(engine, *windows)[3:], atol=1e-5, rtol=1e-5)


def test_errors_of_the_background_are_raised_where_the_engine_is_used(narrow_checkpoint, engine_name):
    checkpoint = read_checkpoint(narrow_checkpoint)
    checkpoint.tensors.pop("bottleneck.conv1.conv.weight")
    engine = engine_of(checkpoint, engine_name)
    with pytest.raises((RuntimeError, KeyError), match=r"bottleneck\.conv1"):
        engine.wait()


def test_engine_survives_a_batch_beyond_memory(narrow_checkpoint):
    engine = TorchEngine(read_checkpoint(narrow_checkpoint), device=CPU, precision="float32")
    window = torch.zeros(1, 1, 64, 64, 64).expand(2**28, 1, 64, 64, 64)  # 281 TB once it is copied
    with pytest.raises(RuntimeError) as caught:
        engine(window)
    assert is_out_of_memory(caught.value)
    assert engine(window[:1]).shape == (1, 64, 64, 64)


def overflowing_checkpoint():
    """Make weights whose convolutions overflow in float16. Each norm divides by their scale again."""
    checkpoint = random_checkpoint(filters=(4, 4, 8, 8, 8, 8), window=(32, 32, 32))
    scaled = {name: tensor * (3e4 if "conv2" in name else 1.0) for name, tensor in checkpoint.tensors.items()}
    preprocessing = Preprocessing((8.0, 8.0, 16.0), RangeIntensity(0.0, 10.0))
    return replace(checkpoint, tensors=scaled, config=replace(checkpoint.config, preprocessing=preprocessing))


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_float16_that_overflows_is_repeated_in_float32_only_with_auto(precision, monkeypatch):
    monkeypatch.setattr("swfastedit_core.engine.resolve_precision", lambda *_: "float16")  # as on CUDA
    checkpoint = overflowing_checkpoint()
    network = engine_of(checkpoint, "torch", precision)
    pet = make_phantom(11, geometry=Geometry((24, 24, 32), (8.0, 8.0, 16.0), (-96.0, -96.0, -500.0))).pet
    if precision == "float16":
        with pytest.raises(NotFiniteError, match="use --precision float32"):
            segment(pet, Ensemble([network]))
        return
    with pytest.warns(DataWarning, match="float16 overflowed, so the scan was repeated in float32"):
        mask = segment(pet, Ensemble([network])).mask
    exact = TorchEngine(checkpoint, device=CPU, precision="float32")
    np.testing.assert_array_equal(mask.array_zyx, segment(pet, Ensemble([exact])).mask.array_zyx)


def test_warm_up_runs_every_number_of_windows_that_runs_later(narrow_checkpoint, monkeypatch):
    monkeypatch.setattr(TorchEngine, "_batch_sizes", lambda self: [1, 2, 4])
    sizes = []

    def record(self, windows):
        sizes.append(len(windows))
        return torch.zeros(len(windows), *self.config.window)

    monkeypatch.setattr(TorchEngine, "__call__", record)
    network = engine_of(read_checkpoint(narrow_checkpoint), "torch")
    warm_up(Ensemble([network]))
    warm = set(sizes)
    assert not network._batch.undecided
    sizes.clear()
    for count in range(1, 12):
        assert len(answer(network, *[torch.zeros(1, 64, 64, 64)] * count)) == count
    assert set(sizes) <= warm


def test_openvino_tells_nobody_that_it_is_used():
    """Its conversion tools report their import over the network; later, somebody else may import them."""
    code = (
        "import sys; import swfastedit_core.engine.openvino_engine;"
        "assert not [name for name in sys.modules if 'telemetry' in name or '.ovc' in name];"
        "sys.modules['openvino_telemetry'] = None; import openvino.tools.ovc"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- names


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
