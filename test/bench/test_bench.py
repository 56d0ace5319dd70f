from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
from places import ROOT
from played import PlayedEngine

from bench import __main__ as command
from bench import agreement, machine, scaling, speed
from bench.machine import Ceilings
from bench.record import Record
from bench.reference import recipe
from bench.runs import Run, gflop_per_window, run_program, run_reference
from swfastedit_core import Geometry, UserError, Volume, write_volume
from swfastedit_core.checkpoint import Channels, CheckpointConfig, read_checkpoint
from swfastedit_core.engine import resolve_precision
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.data.sources import Source

BOX = ROOT / "weights" / "demo.safetensors"
SCAN = next((ROOT / "test" / "input" / "images" / "pet").iterdir())
STAGES = dict.fromkeys(speed.STAGES, 0.5) | {"network": 8.0}


def test_operations_of_the_recipes_network_are_counted():
    assert gflop_per_window(CheckpointConfig(NetworkConfig())) == pytest.approx(957.3, abs=0.1)
    # 27 multiplications and additions for each of 8³ voxels and each pair of channels, and so on down the levels
    one = CheckpointConfig(NetworkConfig("smalldynunet", (1, 1, 1)), window=(8, 8, 8))
    full, half, quarter = 8**3, 4**3, 2 * 2 * 4
    convolutions = 27 * (2 * full + 2 * half + 2 * quarter) + half + quarter  # down, with strided shortcuts
    convolutions += half + 27 * (2 + 1) * half + full + 27 * (2 + 1) * full + 2 * full  # up, and the output
    assert gflop_per_window(one) * 1e9 == pytest.approx(2 * convolutions)


def report(windows, network, wall, **more):
    seconds = STAGES | {"network": network}
    values = {"windows": windows, "windows_full_grid": 343, "seconds": seconds, "precision": "float32"}
    return Run(wall, values | {"peak_memory_mb": 1500.0, "output": "/secret/mask.mha"} | more, Path("mask.mha"))


def test_figures_are_medians_of_what_was_measured_side_by_side():
    case = speed.Case("scan", "network", Path("pet.mha"), Path("weights"), repeats=3)
    measured = speed.Measured(case, 100.0)
    measured.runs = [report(10, 8.0, 10.0), report(10, 5.0, 8.0), report(10, 20.0, 30.0)]
    measured.references = [{"total_seconds": total} for total in (200.0, 240.0, 330.0)]
    measured.ceilings = [
        Ceilings({"float32": rate}, copied) for rate, copied in ((500.0, 9.0), (400.0, 11.0), (500.0, 20.0))
    ]
    measured.sustained_gflops = [250.0, 250.0, 100.0]
    assert measured.gflops == [125.0, 200.0, 50.0]
    assert measured.shares_of(measured.sustained_gflops) == [0.5, 0.8, 0.5]
    assert measured.times_faster == 20.0  # of 20, 30 and 11
    table = speed.in_markdown([measured])
    head, _, row, *_ = table.splitlines()
    found = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert found["windows"] == "10 of 343"
    assert found["seconds"] == "10.0 s (8.0 to 30.0)"
    assert found["network"] == "67%"  # of 0.8, 0.625 and 0.667
    assert found["first window"] == "3.0 s"  # six stages of half a second
    assert found["MONAI"] == "240.0 s (200.0 to 330.0)"
    assert "| float32 | 100 | 125 | 250 | 50% (50% to 80%) | 500 | 25% (10% to 50%) | 11.0 |" in table
    assert "secret" not in json.dumps(measured.to_json())  # results are published


@pytest.mark.parametrize(
    ("length", "slices"),
    [
        (1.0, [0, 1, 2, 3, 4]),
        (0.6, [1, 2, 3]),
        (0.2, [2]),
        (2.0, [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]),
        (1.4, [0, 1, 2, 3, 4, 4, 3]),
    ],
)
def test_scan_is_shortened_and_lengthened_along_the_body(length, slices):
    array = np.zeros((5, 2, 3), np.float32) + np.arange(5, dtype=np.float32)[:, None, None]
    found = scaling.stretched(Volume(array, Geometry((3, 2, 5), (4.0, 4.0, 3.0))), length)
    assert found.array_zyx[:, 0, 0].tolist() == slices
    assert found.geometry == Geometry((3, 2, len(slices)), (4.0, 4.0, 3.0))


def test_fit_is_perfect_for_a_line_only():
    assert scaling.r_squared([1, 2, 3], [5, 7, 9]) == pytest.approx(1.0)
    assert scaling.r_squared([0, 1, 2], [0, 3, 0]) == pytest.approx(0.0)


def test_cost_is_drawn(tmp_path):
    points = [scaling.Point(n, 10.0 * n, 4 * n, 2.0 * n, 3.0 * n) for n in (1, 2, 4)]
    scaling.draw(points, tmp_path / "new" / "cost.png")
    picture = matplotlib.image.imread(tmp_path / "new" / "cost.png")
    assert picture.std() > 0.05
    assert "R² = 1.0000" in scaling.in_markdown(points)


def test_reference_runs_some_windows_and_takes_them_for_the_others(tmp_path, narrow_checkpoint):
    scan = tmp_path / "scan.nii.gz"
    spacing_mm = read_checkpoint(narrow_checkpoint).config.preprocessing.spacing_mm
    rng = np.random.default_rng(0)
    array = rng.random((150, 70, 80), np.float32)
    write_volume(Volume(array, Geometry((80, 70, 150), tuple(float(np.float32(mm)) for mm in spacing_mm))), scan)
    window = read_checkpoint(narrow_checkpoint).config.window
    mask, timing = recipe(scan, read_checkpoint(narrow_checkpoint), windows=2)
    assert window == (64, 64, 64)
    assert mask.shape == array.shape
    assert (timing.windows, timing.windows_run) == (2 * 2 * 7, 2)  # steps of 16
    total = timing.before_seconds + 28 * timing.window_seconds + timing.after_seconds
    assert timing.total_seconds == pytest.approx(total)
    assert min(timing.before_seconds, timing.window_seconds, timing.after_seconds) > 0


def test_programs_are_run_as_users_run_them(tmp_path):
    run = run_program(SCAN, BOX, tmp_path, "--overlap", "0")
    assert run.mask == tmp_path / SCAN.name
    assert run.mask.is_file()
    assert 0 < run.seconds["network"] < run.wall_seconds
    assert run.first_window_seconds < run.wall_seconds
    with pytest.raises(UserError, match="no such file"):
        run_program(tmp_path / "none.mha", BOX, tmp_path)
    with pytest.raises(UserError, match=r"bench\.reference"):
        run_reference(tmp_path / "none.mha", BOX, windows=1)


class Threshold(PlayedEngine):
    """Finds what has an SUV above a limit, whatever the window."""

    def __init__(self, limit):
        self.limit = limit
        preprocessing = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 10.0))
        self.config = SimpleNamespace(window=(8, 8, 8), channels=Channels.PET, preprocessing=preprocessing)

    def __call__(self, windows):
        return windows[:, 0] * 10 - self.limit


def test_default_mask_is_compared_with_the_full_grid(tmp_path, monkeypatch):
    engines = {"auto": Ensemble([Threshold(5.0)]), "float32": Ensemble([Threshold(3.0)])}
    monkeypatch.setattr(agreement, "load_networks", lambda *_, device, precision="auto": engines[precision])
    suv = np.zeros((20, 20, 20), np.float32)
    suv[4:8, 4:8, 4:8] = 4.0  # 64 voxels that float32 alone finds
    suv[12:16, 12:16, 12:18] = 8.0  # 96 for both
    folder = tmp_path / "patient"
    write_volume(Volume(suv, Geometry((20, 20, 20), (4.0, 4.0, 4.0))), folder / "pet.mha")
    label = (suv > 5).astype(np.uint8)
    write_volume(Volume(label, Geometry((20, 20, 20), (4.0, 4.0, 4.0))), folder / "label.mha")
    source = Source("patient", "patient", "scan", pet=folder / "pet.mha", label=folder / "label.mha")
    found, unlabelled = agreement.agreements(BOX, [source, replace(source, label=None)], device="cpu")
    assert found.scan == "patient"
    assert found.dice == pytest.approx(2 * 96 / (96 + 160))
    assert found.moved_dice == 1.0  # whatever the window
    assert (found.full_label_dice, found.default_label_dice) == (pytest.approx(0.75), 1.0)
    assert unlabelled == replace(found, full_label_dice=None, default_label_dice=None)
    assert found.precision_dice == pytest.approx(0.75)  # no window matters here
    assert (found.differing_voxels, found.windows_full_grid) == (64, 7**3)  # steps of 2
    assert found.full_ml == pytest.approx(160 * 0.064)
    assert found.default_ml == pytest.approx(96 * 0.064)
    assert "| patient | 0.7500 | 1.0000 | 0.7500 | 0.750 | 1.000 | 10.2 ml | 6.1 ml | 64 |" in agreement.in_markdown(
        [found]
    )


def test_scan_without_its_first_voxels_stays_in_its_place():
    grid = Geometry((5, 4, 3), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    cut = agreement.without_first(Volume(array, grid), (1, 2, 0))
    assert cut.geometry.size_xyz == (4, 2, 3)
    assert cut.array_zyx[0, 0, 0] == array[0, 2, 1]
    assert cut.geometry.origin_mm == (10.0 - 6.0, 20.0 + 2.0, 30.0)  # x runs along the patient's y, y against its x
    config = CheckpointConfig(NetworkConfig(), window=(128, 128, 128))
    assert agreement.half_a_step(Geometry((9, 9, 9), (4.0, 2.0, 3.0)), config) == (8, 16, 16)


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


def test_cases_are_measured_side_by_side(tmp_path, monkeypatch):
    pytest.importorskip("nibabel")
    monkeypatch.setattr(machine, "SIDES", {"cpu": (64, 256)})
    monkeypatch.setattr(machine, "SECONDS", 0.1)
    monkeypatch.setattr(speed, "KEPT_UP", (0.1, 1.0))
    case = speed.Case("small", "in the box", SCAN, BOX, repeats=1, reference_windows=1)
    (found,) = speed.measure([case], torch.device("cpu"), tmp_path)
    assert (len(found.runs), len(found.references), len(found.ceilings), len(found.sustained_gflops)) == (1, 1, 1, 1)
    assert found.references[0]["windows"] == found.runs[0].report["windows_full_grid"]
    assert found.times_faster > 0
    assert all(rate > 0 for rate in (*found.gflops, *found.sustained_gflops, *found.burst_gflops))
    assert len(speed.in_markdown([found]).splitlines()) == 3 * 3 + 2  # three tables of a row
    assert str(tmp_path) not in json.dumps(found.to_json())


def test_time_is_measured_over_lengths_of_a_scan(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "LENGTHS", (0.5, 2.0))
    short, long = scaling.measure(SCAN, BOX, tmp_path, device=torch.device("cpu"), repeats=1)
    assert (short.length, long.length) == (0.5, 2.0)
    assert long.body_l == pytest.approx(4 * short.body_l, rel=0.35)
    assert 0 < short.network_seconds < short.wall_seconds
    assert short.windows < long.windows


def test_body_is_as_large_as_what_is_in_the_scan():
    suv = np.zeros((60, 60, 60), np.float32)
    suv[10:50, 15:45, 20:40] = 2.0  # 24,000 voxels of 0.216 ml
    grid = Geometry((60, 60, 60), (6.0, 6.0, 6.0))
    assert scaling.body_litres(Volume(suv, grid), (6.0, 6.0, 6.0)) == pytest.approx(5.184, rel=0.5)


def test_parts_that_are_not_measured_again_stay(tmp_path, monkeypatch):
    output, figures = tmp_path / "cpu.json", iter([1, 2, 3])
    for part in ("speed", "large"):
        monkeypatch.setitem(command.DOES, part, lambda *_: (next(figures), ""))
    for part in ("speed", "large", "speed"):
        run = ["--scan", str(SCAN), "--device", "cpu", "--output", str(output), "--only", part]
        assert command.main(run) == 0
    found = json.loads(output.read_text())
    assert (found["speed"], found["large"], set(found["dates"])) == (3, 2, {"speed", "large"})
    assert found["settings"]["large"] == {"repeats": 3}
    assert found["settings"]["speed"]["scan"] == str(SCAN)


def test_figures_of_another_machine_are_not_mixed_in(tmp_path, capfd):
    output, device = tmp_path / "cpu.json", torch.device("cpu")
    Record(output, device).keep("speed", [1], {})
    assert Record(output, device).found["speed"] == [1]
    content = json.loads(output.read_text())
    output.write_text(json.dumps(content | {"machine": "another"}))
    assert "speed" not in Record(output, device).found
    assert "of another machine" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"), [("{bad", "as JSON"), ("[]", "no figures"), ('{"dates": {}}', "no figures")]
)
def test_file_that_holds_no_figures_is_not_replaced(text, words, tmp_path, capfd):
    output = tmp_path / "mine.json"
    output.write_text(text)
    assert command.main(["--scan", str(SCAN), "--only", "agreement", "--output", str(output)]) == 1
    assert words in capfd.readouterr().err
    assert output.read_text() == text


def test_missing_scan_is_said_before_anything_is_measured(tmp_path, capfd):
    assert command.main(["--scan", str(tmp_path / "none.mha")]) == 1
    assert "name a whole-body PET with --scan" in capfd.readouterr().err
