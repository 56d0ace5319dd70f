from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
import torch

from bench import machine
from swfastedit_core.engine import resolve_precision


def test_ceilings_are_rates_of_what_is_done(monkeypatch):
    monkeypatch.setattr(machine, "SIDES", {"cpu": (64, 256, 128)})
    monkeypatch.setattr(machine, "COPIED_FLOATS", 2**16)
    clock = count(step=0.01)
    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    device = torch.device("cpu")
    ceilings = machine.measure_ceilings(device)
    rate = pytest.approx(2 * 256**3 / 0.01 / 1e9)  # the largest product takes as long as the others by this clock
    assert ceilings.gflops == {"float32": rate, resolve_precision("auto", device): rate}
    assert ceilings.copy_gb_per_s == pytest.approx(2 * 4 * 2**16 / 0.01 / 1e9)
    assert next(clock) > 2 * machine.SECONDS  # of both products


def test_product_is_kept_up_for_as_long_as_asked(monkeypatch):
    monkeypatch.setattr(machine, "SIDES", {"cpu": (64, 256)})
    clock = count(step=0.25)
    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = machine.sustained_gflops(torch.device("cpu"), "float32", seconds=10.0)
    assert found == pytest.approx(2 * 256**3 * 39 / 10.0 / 1e9)  # the clock is looked at after each
