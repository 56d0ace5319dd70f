"""Settings of PyTorch that a program may have changed before it calls the engine."""

from __future__ import annotations

import pytest
import torch

from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.engine.choice import cpu_has_bfloat16
from swfastedit_core.engine.torch_engine import TorchEngine
from swfastedit_core.engine.torch_settings import engine_settings

CPU = torch.device("cpu")
PLACES = ("", "cudnn", "cudnn.conv", "cudnn.rnn", "mkldnn", "mkldnn.conv", "mkldnn.matmul", "cuda.matmul")


def backend(place):
    found = torch.backends
    for name in filter(None, place.split(".")):
        found = getattr(found, name)
    return found


@pytest.fixture(autouse=True)
def settings_of_torch():
    """Restore everything that a test changes: unset, the precisions are `none`, but `tf32` in cuDNN."""
    before = {place: backend(place).fp32_precision for place in PLACES}
    yield
    torch.set_float32_matmul_precision("highest")
    for place, precision in before.items():
        backend(place).fp32_precision = precision


@pytest.fixture
def engine(narrow_checkpoint):
    return TorchEngine(read_checkpoint(narrow_checkpoint), device=CPU, precision="float32")


@pytest.fixture
def window():
    return torch.randn((1, 64, 64, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
@pytest.mark.parametrize("place", PLACES)
def test_fp32_precision_of_a_program_changes_nothing(place, precision, engine, window):
    if place.startswith("cud") and precision == "bf16":
        pytest.skip("CUDA has no such setting")
    expected = engine([window])
    backend(place).fp32_precision = precision
    assert torch.equal(engine([window]), expected)
    assert backend(place).fp32_precision == precision


def test_low_matmul_precision_of_a_program_changes_nothing(engine, window):
    expected = engine([window])
    torch.set_float32_matmul_precision("medium")
    if cpu_has_bfloat16():
        outside = torch.nn.functional.conv3d(window[None], torch.ones(8, 1, 3, 3, 3))
        with engine_settings(CPU, torch.float32):
            assert not torch.equal(torch.nn.functional.conv3d(window[None], torch.ones(8, 1, 3, 3, 3)), outside)
    assert torch.equal(engine([window]), expected)
    assert torch.get_float32_matmul_precision() == "medium"


def test_autocast_of_a_program_changes_nothing(engine, window):
    expected = engine([window])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(engine([window]), expected)
        assert torch.is_autocast_enabled("cpu")


def test_inherited_setting_is_inherited_after_the_engine(engine, window):
    torch.backends.fp32_precision = "bf16"
    engine([window])
    torch.backends.fp32_precision = "ieee"
    assert [backend(place).fp32_precision for place in ("mkldnn.conv", "mkldnn.matmul")] == ["ieee", "ieee"]


def test_engine_on_the_cpu_sets_nothing_of_cuda(engine, window, monkeypatch):
    torch.backends.fp32_precision = "bf16"
    changed, change = [], torch._C._set_fp32_precision_setter
    monkeypatch.setattr(torch._C, "_set_fp32_precision_setter", lambda *what: (changed.append(what[:2]), change(*what)))
    engine([window])
    assert set(changed) == {("mkldnn", "conv"), ("mkldnn", "matmul")}


def test_settings_are_restored_after_an_error():
    cudnn, matmul = torch.backends.cudnn, torch.backends.mkldnn.matmul
    matmul.fp32_precision, cudnn.benchmark = "bf16", True

    def fail_inside(device, *inside):
        with engine_settings(device, torch.float32):
            assert (cudnn.benchmark, cudnn.deterministic, matmul.fp32_precision) == inside
            raise ValueError("inside")

    try:
        with pytest.raises(ValueError, match="inside"):
            fail_inside(CPU, True, False, "ieee")
        assert matmul.fp32_precision == "bf16"
        with pytest.raises(ValueError, match="inside"):
            fail_inside(torch.device("cuda"), False, True, "bf16")
        assert (cudnn.benchmark, cudnn.deterministic) == (True, False)
    finally:
        cudnn.benchmark = False
