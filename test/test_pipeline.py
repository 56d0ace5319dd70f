"""Segmentation of a scan with fake networks: votes, regions, floors, progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import FakeEngine
from places import ROOT

import swfastedit_core
from swfastedit_core import (
    Ensemble,
    Geometry,
    UserError,
    Volume,
    load_networks,
    read_label,
    read_volume,
    segment,
    write_volume,
)
from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import DataWarning
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.preprocess import Preprocessing

GRID = Geometry((12, 10, 8), (4.0, 4.0, 4.0), (1.0, 2.0, 3.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))


class SaysEverywhere(FakeEngine):
    """A network whose logit is its input's SUV minus a constant, whatever the window."""

    def __init__(self, offset=0.0, gain=1.0):
        self.offset, self.gain, self.source = offset, gain, f"{offset}.safetensors"
        self.config = SimpleNamespace(
            window=(8, 8, 8),
            channels=Channels.PET,
            clicks=None,
            preprocessing=Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 1.0)),
        )

    def __call__(self, windows):
        return self.gain * windows[:, 0] + self.offset


def volume(array):
    return Volume(np.asarray(array, np.float32), GRID)


def zeros():
    return np.zeros(GRID.shape_zyx, np.float32)


def test_scan_without_any_contrast_has_no_lesions_and_needs_no_window():
    flat = np.full(GRID.shape_zyx, 3.0, np.float32)
    result = segment(volume(flat), Ensemble([SaysEverywhere(offset=-0.5)]))
    assert (result.lesion_voxels, result.windows) == (0, 0)
    assert result.windows_full_grid == 6
    assert result.mask.array_zyx.shape == flat.shape
    everywhere = Ensemble([SaysEverywhere(offset=0.5)])
    full = segment(volume(flat), everywhere, full_grid=True)  # the recipe runs all windows
    assert (full.lesion_voxels, full.windows) == (flat.size, full.windows_full_grid)


class Overflows(SaysEverywhere):
    """A network whose logits are not finite; in float32 they are."""

    precision = "float16"

    def __init__(self, exact):
        super().__init__()
        self.exact, self.source = exact, "overflows.safetensors"

    def __call__(self, windows):
        return windows[:, 0] * float("inf")

    def in_float32(self):
        return self.exact


def test_scan_whose_float16_overflows_is_repeated_in_float32_with_a_warning():
    array = zeros()
    array[2:5, 3:6, 7:9] = 0.9
    exact, seen = SaysEverywhere(offset=-0.5), []
    networks = Ensemble([Overflows(exact), exact])
    with pytest.warns(
        DataWarning, match=r"overflows\.safetensors: float16 overflowed, so the scan was repeated in float32"
    ):
        result = segment(volume(array), networks, full_grid=True, progress=lambda *counts: seen.append(counts))
    np.testing.assert_array_equal(result.mask.array_zyx, (array > 0).astype(np.uint8))
    assert seen[-1] == (12, 12)


def test_overflow_in_a_precision_that_the_user_chose_is_an_error():
    with pytest.raises(UserError, match=r"output is not finite in float16; use --precision float32"):
        segment(volume(zeros() + 0.1), Ensemble([Overflows(None)]), full_grid=True)


def test_mask_lies_where_the_uptake_is_on_the_files_grid():
    array = zeros()
    array[2:5, 3:6, 7:9] = 0.9
    result = segment(volume(array), Ensemble([SaysEverywhere(offset=-0.5)]), full_grid=True)
    np.testing.assert_array_equal(result.mask.array_zyx, (array > 0).astype(np.uint8))
    assert result.mask.array_zyx.dtype == np.uint8
    assert result.mask.geometry == GRID
    assert result.lesion_voxels == 18
    assert result.lesion_ml == pytest.approx(18 * 0.064)
    assert result.windows == result.windows_full_grid == 3 * 2 * 1  # steps of 2: x 0 2 4, y 0 2, z 0
    assert set(result.seconds) == {"prepare", "plan", "compile", "network", "restore"}


def test_a_tie_is_background():
    assert segment(volume(zeros()), Ensemble([SaysEverywhere()]), full_grid=True).lesion_voxels == 0


def test_mean_of_probabilities_and_majority_vote_differ_where_they_should():
    # sigmoid: 5 → 0.993, -0.5 → 0.378: the mean is 0.583, but two of three vote for background
    networks = Ensemble([SaysEverywhere(5.0, 0.0), SaysEverywhere(-0.5, 0.0), SaysEverywhere(-0.5, 0.0)])
    assert segment(volume(zeros()), networks, full_grid=True).lesion_voxels == 960
    assert segment(volume(zeros()), networks, majority=True, full_grid=True).lesion_voxels == 0
    # 0.5 → 0.622, -5 → 0.007: the mean is 0.417, but two of three vote for tumour
    networks = Ensemble([SaysEverywhere(0.5, 0.0), SaysEverywhere(0.5, 0.0), SaysEverywhere(-5.0, 0.0)])
    assert segment(volume(zeros()), networks, full_grid=True).lesion_voxels == 0
    assert segment(volume(zeros()), networks, majority=True, full_grid=True).lesion_voxels == 960


def test_an_even_vote_is_background():
    networks = Ensemble([SaysEverywhere(5.0, 0.0), SaysEverywhere(-0.1, 0.0)])
    assert segment(volume(zeros()), networks, majority=True, full_grid=True).lesion_voxels == 0
    assert segment(volume(zeros()), networks, full_grid=True).lesion_voxels == 960


def test_windows_of_an_ensemble_add_up_and_progress_counts_them():
    seen = []
    networks = Ensemble([SaysEverywhere(), SaysEverywhere()])
    result = segment(volume(zeros()), networks, full_grid=True, progress=lambda done, total: seen.append((done, total)))
    assert result.windows == 12
    assert seen == [(count, 12) for count in range(1, 13)]


def test_floor_removes_small_lesions_only():
    array = zeros()
    array[1, 1, 1] = 0.9
    array[4:6, 4:6, 4:6] = 0.9
    result = segment(volume(array), Ensemble([SaysEverywhere(-0.5)]), full_grid=True, min_lesion_ml=0.1)
    expected = zeros()
    expected[4:6, 4:6, 4:6] = 1
    np.testing.assert_array_equal(result.mask.array_zyx, expected)


def test_body_region_leaves_air_background():
    geometry = Geometry((60, 60, 40), (4.0, 4.0, 4.0))
    array = np.zeros(geometry.shape_zyx, np.float32)
    array[:, 4:16, 4:16] = 1.0
    result = segment(Volume(array, geometry), Ensemble([SaysEverywhere(0.1)]))  # a network that calls everything tumour
    full = segment(Volume(array, geometry), Ensemble([SaysEverywhere(0.1)]), full_grid=True)
    assert full.lesion_voxels == array.size
    assert result.mask.array_zyx[array > 0].all()
    assert result.windows < 0.3 * result.windows_full_grid
    assert result.mask.array_zyx[:, 30:, 30:].sum() == 0


def test_scan_is_not_changed():
    array = np.random.default_rng(0).random(GRID.shape_zyx, np.float32)
    before = array.copy()
    segment(Volume(array, GRID), Ensemble([SaysEverywhere()]))
    np.testing.assert_array_equal(array, before)


def test_three_lines_of_python_do_what_the_command_does(tmp_path, narrow_checkpoint, run):
    scan = tmp_path / "scan.mha"
    write_volume(volume(np.random.default_rng(1).random(GRID.shape_zyx)), scan)
    networks = load_networks(narrow_checkpoint, device="cpu", precision="float32")
    mask = segment(read_volume(scan), networks).mask
    options = ("--weights", narrow_checkpoint, "--device", "cpu", "--precision", "float32")
    done = run("--pet", scan, "--output", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["lesion_voxels"] == int(mask.array_zyx.sum()) > 0
    np.testing.assert_array_equal(read_label(tmp_path / "out" / "scan.mha").array_zyx, mask.array_zyx)


def test_public_names_exist():
    for name in swfastedit_core.__all__:
        assert getattr(swfastedit_core, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = swfastedit_core.nothing


def test_cpu_run_imports_neither_cupy_nor_monai_nor_matplotlib(tmp_path, narrow_checkpoint):
    libraries = ("cupy", "monai", "matplotlib")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for library in libraries:  # a package in its place that ends whoever imports it
        (tmp_path / f"{library}.py").write_text("raise SystemExit('imported')")
        trap = [sys.executable, "-c", f"import {library}"]
        assert b"imported" in subprocess.run(trap, env=environment, capture_output=True, check=False).stderr
    scan = tmp_path / "scan.mha"
    write_volume(volume(np.ones(GRID.shape_zyx)), scan)
    command = [sys.executable, "process.py", "--pet", str(scan), "--output", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--weights", str(narrow_checkpoint), "--min-lesion-ml", "0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_loading_weights_leaves_torchs_compiler_alone():
    code = "import sys; from swfastedit_core import load_networks; load_networks('weights', device='cpu'); "
    code += "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_flipped_and_integer_arrays_are_taken():
    array = zeros()
    array[2:5, 3:6, 7:9] = 1
    expected = segment(volume(array), Ensemble([SaysEverywhere(-0.5)]), full_grid=True).mask.array_zyx
    for same in (array.astype(np.int16), np.asfortranarray(array), array[::-1].copy()[::-1]):
        found = segment(Volume(same, GRID), Ensemble([SaysEverywhere(-0.5)]), full_grid=True).mask.array_zyx
        np.testing.assert_array_equal(found, expected)
