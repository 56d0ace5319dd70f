from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from blobs import GRID, write_blobs

from bench import weights as bench
from swfastedit_core import Volume, read_label, read_volume
from swfastedit_core.metrics.overlap import dice
from swfastedit_core.train.data.sources import find_sources


class NoNetworks(list):
    """An ensemble that the scores do not need: `segment` is replaced."""

    ct_network = None


@pytest.fixture
def folder(tmp_path):
    return write_blobs(tmp_path / "blobs", 3)


@pytest.fixture
def finds_a_corner(monkeypatch):
    """Let every network mark eight voxels in a corner, far from any lesion."""
    mask = np.zeros(GRID.shape_zyx, np.uint8)
    mask[:2, :2, :2] = 1
    monkeypatch.setattr(bench, "segment", lambda *_, **__: SimpleNamespace(mask=Volume(mask, GRID)))
    monkeypatch.setattr(bench, "load_networks", lambda *_: NoNetworks())


def test_networks_and_thresholds_are_scored_on_the_same_scans(folder, finds_a_corner):
    sources = find_sources(f"images:{folder}", seed=0)
    rows = {row.method: row for row in bench.score_methods("blobs", [(source, NoNetworks()) for source in sources])}
    truths = [read_label(source.label).array_zyx for source in sources]
    network = rows["network"]
    assert (network.scans, network.dice, network.fpv_ml) == (3, 0.0, pytest.approx(8 * 0.064))
    assert network.fnv_ml == pytest.approx(np.mean([truth.sum() for truth in truths]) * 0.064)
    # A body of SUV 1 and a ball of SUV 7 with noise of 0.1: 2.5 finds the ball, and so does 41 % of the maximum.
    assert rows["SUV 2.5"].dice == rows["41% of SUVmax"].dice == 1.0
    assert rows["SUV 2.5"].fpv_ml == rows["SUV 2.5"].fnv_ml == 0.0
    assert rows["best SUV of each scan"].dice == 1.0
    (best,) = [row for method, row in rows.items() if method.startswith("best SUV for all")]
    assert best.dice == 1.0
    hot = np.mean([dice(t, read_volume(s.pet).array_zyx >= 7.2) for t, s in zip(truths, sources, strict=True)])
    assert 0 < hot < 1  # so that the thresholds that are tried do not all come to the same


def test_every_scan_is_held_out_by_exactly_one_run(folder, finds_a_corner, tmp_path):
    runs = []
    for name, held_out in (("a", ["blob0"]), ("b", ["blob1", "blob2"])):
        runs.append(tmp_path / name)
        runs[-1].mkdir()
        (runs[-1] / "split.json").write_text(json.dumps({"train": [], "validation": held_out}))
    rows = bench.crossvalidation(runs, f"images:{folder}")
    assert rows[0].test == "2-fold cross-validation on 3 scans"
    with pytest.raises(bench.UserError, match="1 runs hold out 1 of 3 scans"):
        bench.crossvalidation(runs[:1], f"images:{folder}")
    with pytest.raises(bench.UserError, match="3 runs hold out 4 of 3 scans"):
        bench.crossvalidation([*runs, runs[0]], f"images:{folder}")


def test_command_writes_a_table_and_its_figures(folder, finds_a_corner, tmp_path, capfd):
    scan = [str(folder / kind / "blob0.mha") for kind in ("imagesTr", "labelsTr")]
    target = tmp_path / "figures.json"
    assert bench.main(["--phantoms", "0", "--scan", *scan, "--output", str(target)]) == 0
    assert "| imagesTr, whole body | SUV 2.5 | 1.000 | 0.0 | 0.0 |" in capfd.readouterr().out
    assert json.loads(target.read_text())[0]["method"] == "network"
    assert bench.main(["--phantoms", "0"]) == 1
    assert bench.main(["--folds", str(tmp_path)]) == 1
    assert capfd.readouterr().err.count("\n") == 2


def test_ceiling_is_the_label_as_the_networks_voxels_can_show_it():
    label = np.zeros(GRID.shape_zyx, np.uint8)
    label[10:20, 10:20, 10:20] = 1
    same = bench.on_network_grid(Volume(label, GRID), GRID.spacing_mm)
    np.testing.assert_array_equal(same, label > 0)
    coarse = bench.on_network_grid(Volume(label, GRID), (9.0, 9.0, 9.0))
    assert 0.8 < dice(label, coarse) < 1.0
