from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from places import ROOT

from bench import __main__ as command
from bench.tried import __main__ as tried
from bench.tried.coarse import worth_running
from bench.tried.mirror import mirrored_cells
from swfastedit_core import Geometry, Volume, write_volume
from swfastedit_core.phantom import make_phantom
from swfastedit_core.windows import Body, plan_windows

SCAN = next((ROOT / "test" / "input" / "images" / "pet").iterdir())


def test_output_that_cannot_be_written_is_said_first(tmp_path, capfd):
    for program, part in ((command, "agreement"), (tried, "mirror")):
        assert program.main(["--only", part, "--output", str(tmp_path)]) == 1
        assert "is a folder" in capfd.readouterr().err


@pytest.mark.parametrize(("asked", "hint"), [(["int8"], "`pip install nncf`\n"), (["cache", "int8"], "--only cache\n")])
def test_missing_package_is_said_with_a_way_out(asked, hint, monkeypatch, capfd):
    monkeypatch.setattr(tried, "find_spec", lambda name: None)
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert tried.main(["--only", *asked]) == 1
    assert capfd.readouterr().err.endswith(hint)
    assert command.main(["--scan", str(SCAN)]) == 1
    assert "pip install nibabel" in capfd.readouterr().err


def test_what_was_tried_is_tried_again(tmp_path, monkeypatch, narrow_checkpoint):
    monkeypatch.setattr(tried, "random_weights", lambda path: shutil.copy(narrow_checkpoint, path))
    monkeypatch.setattr(tried, "find_checkpoints", lambda _: [narrow_checkpoint])
    scan, label = tmp_path / "patient" / "pet.mha", tmp_path / "label.mha"
    grid = Geometry((34, 30, 28), (6.0, 6.0, 6.0), (-100.0, -90.0, -500.0))
    pet = make_phantom(11, geometry=grid).pet
    write_volume(pet, scan)
    write_volume(Volume((pet.array_zyx > 2).astype(np.uint8), grid), label)
    output = tmp_path / "tried.json"
    run = ["--scan", str(scan), str(label), "--phantoms", "0", "--output", str(output)]
    assert tried.main([*run, "--only", "cache", "sharing", "mirror", "coarse"]) == 0
    found = json.loads(output.read_text())
    assert found["cache"][0]["file, MB"] > 0
    assert all(0 < row["share"] < 1 for row in found["sharing"])
    assert {row["scan"] for row in found["mirror"]} == {"patient", "mean"}
    (row,) = found["coarse"]
    assert row["coarse first, Dice"] >= 0.9  # nearly all windows of a grid this small are run
    assert row["body, windows"] <= row["full grid, windows"]


def test_window_is_worth_running_where_it_weighs_in_a_wanted_voxel():
    side_by_side = plan_windows((16, 4, 4), window=(4, 4, 4), overlap=0.0)
    wanted = torch.zeros((16, 4, 4), dtype=torch.bool)
    wanted[5, 1, 1] = True
    assert worth_running(side_by_side, wanted) == ((4, 0, 0),)
    padded = plan_windows((2, 4, 4), window=(4, 4, 4), overlap=0.0)
    assert worth_running(padded, torch.ones((2, 4, 4), dtype=torch.bool)) == ((0, 0, 0),)
    assert worth_running(padded, torch.zeros((2, 4, 4), dtype=torch.bool)) == ()
    overlapping = plan_windows((24, 16, 16), window=(16, 16, 16), overlap=0.75)
    wanted = torch.zeros((24, 16, 16), dtype=torch.bool)
    wanted[7, 8, 8] = True  # weights exp(-d² / 8): 0.97 half a voxel away, 0.08 after 4.5, the floor after 8.5
    assert worth_running(overlapping, wanted) == ((0, 0, 0), (4, 0, 0))


def test_mirrored_body_covers_the_mirrored_voxels():
    cells = np.array([True, False, False])[:, None, None]
    body = Body(cells, (2, 1, 1), (0, 0, 0), (5, 1, 1))  # voxels 0 and 1, then 3 and 4
    assert mirrored_cells(body)[:, 0, 0].tolist() == [False, True, True]
