from __future__ import annotations

import numpy as np
import pytest
from places import CROPS, SHARED, real

from bench.false_alarms import alarms, main
from swfastedit_core import Geometry, Volume, write_volume


@real(CROPS)
def test_real_scans_give_no_warning(capsys):
    scans = [*(CROPS / "imagesTr").iterdir(), *SHARED.glob("data/*/pet.mha")]
    assert len(scans) == 28 + 2
    assert main(["--phantoms", "0", "--scans", *map(str, scans)]) == 0
    assert capsys.readouterr().out == "0 false alarm(s) in 30 scans\n"


@pytest.mark.long
def test_phantoms_give_no_warning(capsys):
    assert main(["--phantoms", "24"]) == 0
    assert capsys.readouterr().out == "0 false alarm(s) in 24 scans\n"


def test_alarms_are_counted(tmp_path, capsys):
    array = np.zeros((20, 30, 30), np.float32)
    array[:, 5:20, 5:20] = 1.0
    array[10, 26, 26] = 4.0  # a hot spot apart
    array[0, 0, 0] = np.nan
    write_volume(Volume(array, Geometry((30, 30, 20), (6.0, 6.0, 6.0))), tmp_path / "scan.mha")
    said = alarms(tmp_path / "scan.mha")
    assert ["1 voxels were not finite" in said[0], "hot spots apart" in said[1], len(said)] == [True, True, 2]
    assert main(["--phantoms", "0", "--scans", str(tmp_path / "scan.mha")]) == 1
    assert capsys.readouterr().out.endswith("2 false alarm(s) in 1 scans\n")
