from __future__ import annotations

import numpy as np
import pytest
from places import ROOT

from bench import programs
from bench.programs import MAX_OUTPUT, gflop_per_window, run_program, run_reference
from swfastedit_core import Geometry, UserError, Volume, write_volume
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.model import NetworkConfig

DEMO_WEIGHTS = ROOT / "weights" / "demo.safetensors"
SCAN = next((ROOT / "test" / "input" / "images" / "pet").iterdir())


def test_operations_of_the_recipes_network_are_counted():
    assert gflop_per_window(CheckpointConfig(NetworkConfig())) == pytest.approx(957.3, abs=0.1)
    # 27 multiplications and additions for each of 8³ voxels and each pair of channels, and so on down the levels
    one = CheckpointConfig(NetworkConfig("smalldynunet", (1, 1, 1)), window=(8, 8, 8))
    full, half, quarter = 8**3, 4**3, 2 * 2 * 4
    convolutions = 27 * (2 * full + 2 * half + 2 * quarter) + half + quarter  # down, with strided shortcuts
    convolutions += half + 27 * (2 + 1) * half + full + 27 * (2 + 1) * full + 2 * full  # up, and the output
    assert gflop_per_window(one) * 1e9 == pytest.approx(2 * convolutions)


@pytest.mark.long
def test_program_is_run_as_users_run_it(tmp_path):
    run = run_program(SCAN, DEMO_WEIGHTS, tmp_path, "--overlap", "0")
    assert run.mask == tmp_path / SCAN.name
    assert run.mask.is_file()
    assert 0 < run.seconds["network"] < run.wall_seconds
    assert run.first_window_seconds < run.wall_seconds


@pytest.mark.long
def test_reference_runs_in_a_process_of_its_own(tmp_path):
    scan = tmp_path / "scan.nii.gz"
    suv = np.random.default_rng(0).random((30, 100, 100), np.float32)
    write_volume(Volume(suv, Geometry((100, 100, 30), (4.0, 4.0, 4.0))), scan)
    report = run_reference(scan, DEMO_WEIGHTS, windows=1)
    assert (report["windows"], report["windows_run"]) == (4, 1)  # 100 voxels take two windows of 96, 30 one
    parts = report["before_seconds"] + 4 * report["window_seconds"] + report["after_seconds"]
    assert report["total_seconds"] == pytest.approx(parts)


def test_failure_of_a_program_is_reported_with_its_last_output():
    code = "import sys; print('x' * 2000, 'last words'); sys.exit('no\\nsuch scan')"
    with pytest.raises(UserError, match=r"^-c import .*: no such scan x+ last words$") as error:
        programs.run_for_report(["-c", code])
    assert len(str(error.value)) < len(code) + MAX_OUTPUT + 30
