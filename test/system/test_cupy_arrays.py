"""Tests with a fake cupy and CUDA stream: where cupy does not work, the caller gets None and computes without it."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from swfastedit_core.system.cupy_arrays import compute_with_cupy


def fake_cupy(freed):
    def pool(name):
        return SimpleNamespace(free_all_blocks=lambda: freed.append(name))

    return SimpleNamespace(
        cuda=SimpleNamespace(Device=nullcontext, ExternalStream=lambda pointer, index: nullcontext()),
        from_dlpack=lambda tensor: tensor.numpy(),
        get_default_memory_pool=lambda: pool("memory"),
        get_default_pinned_memory_pool=lambda: pool("pinned"),
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=0))


def test_array_is_computed_with_cupy_and_its_memory_is_freed(monkeypatch):
    freed = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(freed))
    assert compute_with_cupy(torch.arange(5.0), lambda array: float(np.median(array))) == 2.0
    assert freed == ["memory", "pinned"]


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError, MemoryError, ValueError, AttributeError])
def test_cupy_that_fails_gives_none_and_its_memory_is_freed(error, monkeypatch, caplog):
    freed = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(freed))

    def fails(array):
        raise error("no\nNVRTC")

    with caplog.at_level(logging.INFO):
        assert compute_with_cupy(torch.zeros(3), fails) is None
    assert caplog.messages == [f"computing without cupy: {error.__name__}: no NVRTC"]
    assert freed == ["memory", "pinned"]


def test_cupy_whose_import_fails_gives_none(tmp_path, monkeypatch, caplog):
    (tmp_path / "cupy.py").write_text("raise AttributeError('built for another numpy')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.INFO):
        assert compute_with_cupy(torch.zeros(3), list) is None
    assert caplog.messages == ["computing without cupy: AttributeError: built for another numpy"]


def test_missing_cupy_gives_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert compute_with_cupy(torch.zeros(3), lambda array: pytest.fail("was called")) is None


@pytest.mark.parametrize(("home", "moved"), [("writable", False), ("missing", True)])
def test_kernel_cache_is_in_a_writable_folder(home, moved, tmp_path, monkeypatch):
    (tmp_path / "writable").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setitem(sys.modules, "cupy", None)
    compute_with_cupy(torch.zeros(3), list)
    assert ("CUPY_CACHE_DIR" in os.environ) == moved
