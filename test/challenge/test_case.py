"""One case as a function: its record, its warnings, and what a failure leaves behind."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume, load_networks, read_label, read_volume, segment, write_volume
from swfastedit_core.challenge.case import Case, CaseOptions, segment_case
from swfastedit_core.planning import OVERLAP

GRID = Geometry((40, 36, 30), (4.0, 4.0, 5.0), (10.0, -20.0, 30.0))


@pytest.fixture
def scan(tmp_path):
    array = np.zeros(GRID.shape_zyx, np.float32)
    array[5:25, 6:30, 6:34] = 1.0
    array[12:16, 14:18, 14:18] = 9.0
    write_volume(Volume(array, GRID), tmp_path / "scan.mha")
    return tmp_path / "scan.mha"


@pytest.fixture(scope="module")
def networks(narrow_checkpoint):
    return load_networks(narrow_checkpoint, device="cpu", precision="float32")


def test_record_says_what_was_done(scan, networks, narrow_checkpoint, tmp_path):
    seen = []
    case = Case(pet=scan, mask=tmp_path / "masks" / "scan.mha")
    record = segment_case(case, networks, CaseOptions(), progress=lambda done, total: seen.append((done, total)))
    expected = segment(read_volume(scan), networks)
    np.testing.assert_array_equal(read_label(case.mask).array_zyx, expected.mask.array_zyx)
    assert (record.windows, record.windows_full_grid) == (expected.windows, expected.windows_full_grid)
    assert seen[-1] == (record.windows, record.windows)
    assert record.lesion_voxels == expected.lesion_voxels > 0
    assert record.lesion_volume_ml == pytest.approx(expected.lesion_voxels * 0.08, abs=1e-3)
    assert list(record.seconds) == ["read", "prepare", "plan", "compile", "network", "restore", "write", "total"]
    assert sum(list(record.seconds.values())[:-1]) <= record.seconds["total"]
    plain = json.loads(json.dumps(record.to_json()))
    assert plain["output"] == str(case.mask)
    assert plain["weights"] == [str(narrow_checkpoint)]
    assert (plain["engine"], plain["device"], plain["precision"]) == ("openvino", "cpu", "float32")
    assert (plain["demonstration"], plain["warnings"]) == (False, [])
    assert "ct" not in plain
    assert "peak_gpu_memory_mb" not in plain


def test_options_reach_the_pipeline(scan, networks, tmp_path):
    case = Case(pet=scan, mask=tmp_path / "mask.nii.gz")
    record = segment_case(case, networks, CaseOptions(full_grid=True, overlap=0.5, min_lesion_ml=1e6))
    assert record.windows == record.windows_full_grid
    assert record.lesion_voxels == 0
    assert CaseOptions().overlap == OVERLAP


def test_warnings_about_the_scan_are_reported_and_recorded(networks, tmp_path):
    array = np.full(GRID.shape_zyx, 2.0, np.float32)
    array[0, 0, 0] = np.nan
    write_volume(Volume(array, GRID), tmp_path / "scan.mha")
    said = []
    case = Case(pet=tmp_path / "scan.mha", mask=tmp_path / "mask.mha")
    record = segment_case(case, networks, CaseOptions(), warn=said.append)
    assert said == list(record.warnings)
    assert "1 voxels were not finite numbers" in said[0]


def test_warnings_about_the_pet_are_reported_even_if_the_ct_fails(networks, tmp_path):
    write_volume(Volume(np.full(GRID.shape_zyx, 2000.0, np.float32), GRID), tmp_path / "scan.mha")
    (tmp_path / "ct.mha").write_bytes(b"no image")
    said = []
    case = Case(pet=tmp_path / "scan.mha", ct=tmp_path / "ct.mha", mask=tmp_path / "mask.mha")
    with pytest.raises(UserError, match=r"ct\.mha"):
        segment_case(case, networks, CaseOptions(), warn=said.append)
    assert "every voxel is 2000" in said[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start to measure the peak again")
def test_peak_memory_is_that_of_the_case_and_not_of_a_larger_one_before(scan, networks, tmp_path):
    grid = Geometry((400, 400, 400), (1.0, 1.0, 1.0))
    write_volume(Volume(np.zeros(grid.shape_zyx, np.float32), grid), tmp_path / "large.mha")  # no image: no windows
    peaks = []
    for pet in (scan, tmp_path / "large.mha", scan):
        case = Case(pet=pet, mask=tmp_path / "mask.mha")
        peaks.append(segment_case(case, networks, CaseOptions()).peak_memory_mb)
    assert peaks[1] > peaks[0] + 200  # 64 million voxels of four bytes
    assert peaks[2] < peaks[1] - 200


def test_failure_leaves_no_mask(networks, tmp_path):
    (tmp_path / "scan.mha").write_bytes(b"no image")
    case = Case(pet=tmp_path / "scan.mha", mask=tmp_path / "masks" / "mask.mha")
    with pytest.raises(UserError, match="cannot be read as an image"):
        segment_case(case, networks, CaseOptions())
    assert not case.mask.exists()
