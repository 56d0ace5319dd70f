from __future__ import annotations

import numpy as np
import pytest

from bench.reference import recipe
from swfastedit_core import Geometry, Volume, write_volume
from swfastedit_core.checkpoint import read_checkpoint


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
