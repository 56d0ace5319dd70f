from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from places import ROOT

from bench import speed
from bench.machine import Ceilings
from bench.programs import ProgramRun
from swfastedit_core import Geometry, Volume, write_volume

DEMO_WEIGHTS = ROOT / "weights" / "demo.safetensors"
SCAN = next((ROOT / "test" / "input" / "images" / "pet").iterdir())
STAGES = dict.fromkeys(speed.STAGES, 0.5) | {"network": 8.0}


def report(windows, network, wall, **more):
    seconds = STAGES | {"network": network}
    values = {"windows": windows, "windows_full_grid": 343, "seconds": seconds, "precision": "float32"}
    return ProgramRun(wall, values | {"peak_memory_mb": 1500.0, "output": "/secret/mask.mha"} | more, Path("mask.mha"))


def test_figures_are_medians_of_what_was_measured_side_by_side():
    workload = speed.Workload("scan", "network", Path("pet.mha"), Path("weights"), repeats=3)
    measured = speed.Measured(workload, 100.0)
    measured.runs = [report(10, 8.0, 10.0), report(10, 5.0, 8.0), report(10, 20.0, 30.0)]
    measured.references = [{"total_seconds": total} for total in (200.0, 240.0, 330.0)]
    measured.ceilings = [
        Ceilings({"float32": rate}, copied) for rate, copied in ((500.0, 9.0), (400.0, 11.0), (500.0, 20.0))
    ]
    measured.sustained_gflops = [250.0, 250.0, 100.0]
    assert measured.gflops == [125.0, 200.0, 50.0]
    assert measured.shares_of(measured.sustained_gflops) == [0.5, 0.8, 0.5]
    assert measured.times_faster == 20.0  # of 20, 30 and 11
    table = speed.to_markdown([measured])
    head, _, row, *_ = table.splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["windows"] == "10 of 343"
    assert cells["seconds"] == "10.0 s (8.0 to 30.0)"
    assert cells["share of the network"] == "67%"  # of 0.8, 0.625 and 0.667
    assert cells["first window"] == "3.0 s"  # six stages of half a second
    assert cells["MONAI"] == "240.0 s (200.0 to 330.0)"
    assert "| float32 | 100 | 125 | 250 | 50% (50% to 80%) | 500 | 25% (10% to 50%) | 11.0 |" in table
    assert "secret" not in json.dumps(measured.to_json())  # results are published


def test_workloads_are_measured_in_rounds(tmp_path, monkeypatch):
    """Each round: the reference where it is asked for, the ceilings, the program, a pause, the sustained product."""
    calls = []

    def called(name, value):
        def call(*arguments, **options):
            calls.append((name, *options.values()))
            return value(*arguments) if callable(value) else value

        return call

    def program(scan, weights, output, *options):
        calls.append(options)
        return report(10, 0.5 if scan == SCAN else 90.0, 10.0)

    suv = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    write_volume(Volume(suv, Geometry((3, 4, 5), (4.0, 4.0, 4.0))), tmp_path / "pet.mha")
    monkeypatch.setattr(speed, "run_reference", called("reference", {"total_seconds": 200.0}))
    monkeypatch.setattr(speed, "measure_ceilings", called("ceilings", Ceilings({"float32": 500.0}, 9.0)))
    monkeypatch.setattr(speed, "sustained_gflops", called("sustained", 250.0))
    monkeypatch.setattr(speed.time, "sleep", lambda seconds: calls.append(("pause", seconds)))
    monkeypatch.setattr(speed, "run_program", program)
    workloads = [
        speed.Workload("small", "box", SCAN, DEMO_WEIGHTS, repeats=1, options=("--precision", "float32")),
        speed.Workload("long", "box", tmp_path / "pet.mha", DEMO_WEIGHTS, repeats=2, reference_windows=3),
    ]
    small, long = speed.measure(workloads, torch.device("cpu"), tmp_path)
    rounds = [("reference", 3), ("ceilings",), ("--device", "cpu"), ("pause", 30.0), ("sustained", 60.0)]
    first = [("ceilings",), ("--device", "cpu", "--precision", "float32"), ("pause", 0.5), ("sustained", 2.0)]
    assert calls == [*first, *rounds, *rounds]
    assert [len(each.runs) for each in (small, long)] == [1, 2]
    assert (small.times_faster, long.times_faster) == (None, 20.0)
    assert len(speed.to_markdown([small, long]).splitlines()) == 3 * 4 + 2  # three tables with two rows
