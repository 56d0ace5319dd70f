"""Tests with a fake cupy: where cupy does not work, the caller gets None and computes without it."""

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
    pool = SimpleNamespace(free_all_blocks=lambda: freed.append(True))
    return SimpleNamespace(
        cuda=SimpleNamespace(Device=lambda index: nullcontext(index)),
        from_dlpack=lambda tensor: tensor.numpy(),
        get_default_memory_pool=lambda: pool,
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)


def test_array_is_computed_with_cupy_and_its_memory_is_freed(monkeypatch):
    freed = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(freed))
    assert compute_with_cupy(torch.arange(5.0), lambda array: float(np.median(array))) == 2.0
    assert freed == [True]


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError, MemoryError])
def test_cupy_that_does_not_work_gives_none(error, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy([]))

    def fails(array):
        raise error("no\nNVRTC")

    with caplog.at_level(logging.INFO):
        assert compute_with_cupy(torch.zeros(3), fails) is None
    assert caplog.messages == ["computing without cupy: no NVRTC"]


def test_missing_cupy_gives_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert compute_with_cupy(torch.zeros(3), lambda array: pytest.fail("was called")) is None


def test_errors_of_our_own_are_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy([]))
    with pytest.raises(ZeroDivisionError):
        compute_with_cupy(torch.zeros(3), lambda array: 1 // 0)


@pytest.mark.parametrize(("home", "moved"), [("writable", False), ("missing", True)])
def test_kernel_cache_is_in_a_writable_folder(home, moved, tmp_path, monkeypatch):
    (tmp_path / "writable").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setitem(sys.modules, "cupy", None)
    compute_with_cupy(torch.zeros(3), list)
    assert ("CUPY_CACHE_DIR" in os.environ) == moved
