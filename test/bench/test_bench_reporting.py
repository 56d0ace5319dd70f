from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import reporting
from bench.report_pair import Pair, load_pair, make_pair, save_pair
from bench.report_parts import PARTS, Part, Result, median, table
from swfastedit_core import Geometry, Volume
from swfastedit_core.components import count_components
from swfastedit_core.errors import UserError

GRID = Geometry((100, 100, 60), (8.0, 8.0, 12.0), (-396.0, -396.0, -700.0))


@pytest.fixture(scope="module")
def pair():
    return make_pair(GRID, lesions=40, seed=3)


def test_lesions_are_components_and_the_prediction_is_partly_wrong(pair):
    assert count_components(pair.label_zyx) == 40
    label, prediction = pair.label_zyx > 0, pair.prediction_zyx > 0
    dice = 2 * np.sum(label & prediction) / (label.sum() + prediction.sum())
    assert 0.1 < dice < 0.9
    suv = pair.pet.array_zyx
    assert suv[label].min() > 2 > np.median(suv[~label])


def test_a_pair_is_the_same_after_a_file(pair, tmp_path):
    save_pair(pair, tmp_path)
    found = load_pair(tmp_path)
    assert found.pet.geometry == GRID
    for name in ("label_zyx", "prediction_zyx"):
        np.testing.assert_array_equal(getattr(found, name), getattr(pair, name))
    np.testing.assert_array_equal(found.pet.array_zyx, pair.pet.array_zyx)


def test_too_many_lesions_are_refused():
    with pytest.raises(UserError, match=r"^5000 lesions and 500 false ones: the body has \d+ sites; ask for fewer$"):
        make_pair(GRID, lesions=5000, seed=3)


def test_each_part_runs(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("swfastedit_core.report.page.niivue.read", lambda: "code")
    for part in PARTS:
        folder = tmp_path / part.name
        folder.mkdir()
        part.prepare(pair, folder)()
        assert (part.files_mb is None) or any(folder.iterdir())


def fill(_: Pair, folder: Path):
    def work():
        (folder / "file").write_bytes(b"x" * 3_000_000)

    return work


def test_a_part_is_measured_with_its_files(pair, tmp_path):
    save_pair(pair, tmp_path)
    result = reporting.measure_here(Part("x", "x", fill), tmp_path)
    assert result.files_mb == 3.0
    assert result.cpu_seconds > 0
    assert 0 < result.seconds < 60
    assert result.peak_memory_mb > pair.pet.array_zyx.nbytes / 1e6


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (Result(10.0, 99.0, 3000.0, 2.0), []),
        (Result(10.1, 1.0, 2999.0, 1.0), ["seconds"]),
        (Result(1.0, 1.0, 3001.0, 2.1), ["peak_memory_mb", "files_mb"]),
    ],
)
def test_what_is_above_a_limit_is_named(result, names):
    assert Part("x", "x", fill, seconds=10, peak_memory_mb=3000, files_mb=2).exceeded(result) == names
    assert Part("x", "x", fill).exceeded(result) == []


def test_the_median_time_and_the_highest_memory_count():
    runs = [Result(1.0, 5.0, 10.0, 3.0), Result(9.0, 4.0, 12.0, 1.0), Result(2.0, 3.0, 11.0, 2.0)]
    assert median(runs) == Result(2.0, 4.0, 12.0, 3.0)
    part = PARTS[0]
    row = table({part.name: runs}).splitlines()[-1]
    assert row == f"| {part.what} | 2.0 s | 10 s | 4.0 s | 0.01 GB | 3 GB | 3.0 MB |  |"


@pytest.mark.long
def test_the_command_prints_a_table_and_fails_above_a_limit(monkeypatch, tmp_path, capfd):
    pet = Volume(np.zeros((1, 1, 1), np.float32), Geometry((1, 1, 1), (1.0, 1.0, 1.0)))
    empty = Pair(pet, *(np.zeros((1, 1, 1), np.uint8) for _ in range(2)))
    monkeypatch.setattr(reporting, "make_pair", lambda *_, **__: empty)
    output = tmp_path / "figures.json"
    arguments = ["--only", "scores", "--repeats", "1", "--output", str(output)]
    assert reporting.main(arguments) == 0  # in a process of its own
    assert "| all scores of a mask | " in capfd.readouterr().out
    (figures,) = json.loads(output.read_text())["reporting"]["scores"]
    assert figures["peak_memory_mb"] > 20
    monkeypatch.setattr(reporting, "measure", lambda *_: Result(11.0, 1.0, 1.0, 0.0))
    assert reporting.main(arguments) == 1
    assert capfd.readouterr().err == "above the limits: scores (seconds)\n"


@pytest.mark.long
def test_a_part_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^scores: .*pet\.npy"):
        reporting.measure(PARTS[0], tmp_path)
