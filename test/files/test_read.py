from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import image, mha, refused, values
from places import ROOT

from swfastedit_core import DataWarning, read_ct, read_volume
from swfastedit_core.files.formats import SUFFIXES
from swfastedit_core.files.read import read_label

LARGE_MM = (100.0, 100.0, 100.0)  # a few of these voxels are as large as a body


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_number_type_becomes_float32(kind, suffix, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image(array), str(path))
    volume = read_label(path)
    assert volume.array_zyx.dtype == np.float32
    np.testing.assert_array_equal(volume.array_zyx, array)


def test_scan_of_one_value_is_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="every voxel is 0, there is no image in it"):
        assert not read_volume(mha(tmp_path / "scan.mha", payload=b"\0" * 96)).array_zyx.any()


def test_voxels_that_are_no_numbers_become_zero_and_are_counted(tmp_path):
    array = values()
    array[0, 0, :3], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
    sitk.WriteImage(image(array), str(tmp_path / "scan.mha"))
    with pytest.warns(DataWarning, match=r"scan\.mha: 5 voxels were not finite numbers and became 0"):
        found = read_volume(tmp_path / "scan.mha").array_zyx
    expected = np.where(np.isfinite(array), array, 0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("bad", "is_refused"), [(12, False), (13, True), (24, True)])
def test_more_than_half_no_numbers_is_refused(bad, is_refused, tmp_path):
    array = np.full((2, 3, 4), 2, np.float32)
    array.ravel()[:bad] = np.nan
    sitk.WriteImage(image(array), str(tmp_path / "scan.mha"))
    if is_refused:
        assert refused(tmp_path / "scan.mha").startswith(f"{bad} of 24 voxels are not finite numbers")
    else:
        with pytest.warns(DataWarning, match="12 voxels"):
            assert read_volume(tmp_path / "scan.mha").array_zyx.sum() == 24


@pytest.mark.parametrize(("maximum", "warned"), [(1000.0, False), (1000.5, True), (2e5, True)])
def test_values_that_cannot_be_suv_give_a_warning(maximum, warned, tmp_path):
    array = values()
    array[3, 3, 3] = maximum
    sitk.WriteImage(image(array, spacing_mm=(50.0, 50.0, 50.0)), str(tmp_path / "scan.mha"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        read_volume(tmp_path / "scan.mha")
    assert ["Bq/ml" in str(warning.message) for warning in caught] == [True] * warned


def warnings_of(read, path):
    """Read a file; return the values and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        found = read(path).array_zyx
    return found, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        ([-1000, -100, 40, 3071], None),
        ([-1024, -1024, -1024, -1024], None),  # beside the patient
        ([-500, 0, 0, 0], None),
        ([-499, 0, 0, 0], "minimum -499, and air has -1,000 HU; is it a CT, and not rescaled?"),
        ([0, 0, 0, 0], "minimum 0, and air has -1,000 HU"),
        ([0, 24, 1064, 4095], "minimum 0, and air has -1,000 HU"),  # stored values, without the rescale intercept
    ],
)
def test_ct_is_asked_for_air_and_not_for_a_low_maximum(hu, words, tmp_path):
    path = tmp_path / "ct.mha"
    sitk.WriteImage(image(np.array(hu, np.int16).reshape(1, 2, 2), spacing_mm=LARGE_MM), str(path))
    found, said = warnings_of(read_ct, path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.ravel(), hu)
    assert len(said) == (words is not None)
    if words:
        assert said[0].startswith(f"{path}: {words}")


def test_voxels_of_a_ct_that_are_no_numbers_become_air(tmp_path):
    path = tmp_path / "ct.mha"
    sitk.WriteImage(
        image(np.array([np.nan, -1000, 30, np.inf], np.float32).reshape(1, 2, 2), spacing_mm=LARGE_MM), str(path)
    )
    found, said = warnings_of(read_ct, path)
    assert found.ravel().tolist() == [-1024, -1000, 30, -1024]
    assert said == [f"{path}: 2 voxels were not finite numbers and became -1024"]
    sitk.WriteImage(
        image(np.array([np.nan, np.nan, 30, np.inf], np.float32).reshape(1, 2, 2), spacing_mm=LARGE_MM), str(path)
    )
    assert refused(path, read_ct) == (
        "3 of 4 voxels are not finite numbers, expected a CT in HU; if they are outside of the body, write -1024 there"
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_are_in_memory_once(suffix, compressed, tmp_path):
    array = np.arange(80 * 400 * 400, dtype=np.float32).reshape(80, 400, 400)
    array %= 50
    array[0, 0, 0] = np.nan
    sitk.WriteImage(image(array), str(tmp_path / f"scan{suffix}"), compressed)
    code = f"""
import gc, warnings
from swfastedit_core.system.memory import peak_memory_mb
from swfastedit_core.files.read import read_volume
warnings.simplefilter("ignore")
before = peak_memory_mb()
part = read_volume({str(tmp_path / f"scan{suffix}")!r}).array_zyx[40:]
gc.collect()
print(1e6 * (peak_memory_mb() - before), part.sum(dtype='float64'), part.flags.writeable)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    taken, total, writable = done.stdout.split()
    assert 0.9 * array.nbytes < float(taken) < 1.5 * array.nbytes
    assert float(total) == array[40:].sum(dtype="float64")
    assert writable == "True"
