from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import values

from swfastedit_core import Geometry, UserError, Volume, read_label, read_volume, write_mask, write_volume
from swfastedit_core.files.formats import SUFFIXES

C, S = np.cos(0.3), np.sin(0.3)


DIRECTIONS = {
    "identity": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "oblique": (C, -S, 0, S, C, 0, 0, 0, 1),
    "left-handed": (0, 1, 0, 1, 0, 0, 0, 0, 1),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_round_trip_keeps_values_and_geometry(suffix, direction, tmp_path):
    geometry = Geometry((8, 7, 6), (2.0, 2.5, 3.25), (-100.5, 20.25, 7.0), DIRECTIONS[direction])
    path = tmp_path / f"new folder{suffix}" / f"scan{suffix}"
    write_volume(Volume(values(), geometry), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array_zyx, values())
    assert volume.array_zyx.dtype == np.float32
    assert volume.geometry.size_xyz == (8, 7, 6)
    np.testing.assert_allclose(volume.geometry.spacing_mm, geometry.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.origin_mm, geometry.origin_mm, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.direction, geometry.direction, atol=1e-6)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left


def test_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("é" * 120 + ".nii.gz")  # 247 bytes
    write_volume(Volume(values(), Geometry((8, 7, 6), (2.0, 2.0, 3.0))), path)
    np.testing.assert_array_equal(read_volume(path).array_zyx, values())


def test_mask_is_compressed_uint8(tmp_path):
    mask = np.zeros((40, 40, 40), bool)
    mask[3:6, 4:7, 5:8] = True
    write_mask(Volume(mask, Geometry((40, 40, 40), (2, 2, 2))), tmp_path / "mask.mha")
    written = sitk.ReadImage(str(tmp_path / "mask.mha"))
    assert written.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), mask)
    assert b"CompressedData = True" in (tmp_path / "mask.mha").read_bytes()
    assert (tmp_path / "mask.mha").stat().st_size < 2000


@pytest.mark.parametrize(
    "array", [np.full((2, 2, 2), 2, np.uint8), np.full((2, 2, 2), -1, np.int16), np.ones((2, 2, 2))]
)
def test_mask_of_other_values_is_refused(array, tmp_path):
    with pytest.raises(ValueError, match="a mask holds the integers 0 and 1"):
        write_mask(Volume(array, Geometry((2, 2, 2), (1, 1, 1))), tmp_path / "mask.mha")
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path, volume = tmp_path / "mask.mha", Volume(values(), Geometry((8, 7, 6), (1, 1, 1)))
    path.write_bytes(b"precious")

    def disk_full(image, name, **_):
        Path(name).write_bytes(b"half")
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(sitk, "WriteImage", disk_full)
    with pytest.raises(UserError, match=r"mask\.mha: cannot be written \(No space left on device\)"):
        write_volume(volume, path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("limit", [100, 1000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_leaves_the_old_file_and_nothing_else(suffix, limit, tmp_path):
    resource = pytest.importorskip("resource")
    path, mask = tmp_path / f"mask{suffix}", values((20, 30, 40)) > 0.5
    path.write_bytes(b"precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match=rf"mask\{suffix}: cannot be written"):
            write_mask(Volume(mask, Geometry((40, 30, 20), (1, 1, 1))), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_ending_is_refused_for_writing(tmp_path):
    with pytest.raises(UserError, match="unknown file type"):
        write_volume(Volume(values(), Geometry((8, 7, 6), (1, 1, 1))), tmp_path / "scan.img")


def test_nifti_of_more_than_16_bits_is_nifti_2(tmp_path):
    grid = Geometry((40000, 1, 1), (0.05, 50.0, 50.0))
    write_mask(Volume(np.ones(grid.shape_zyx, np.uint8), grid), tmp_path / "mask.nii")
    assert (tmp_path / "mask.nii").read_bytes()[:4] == (540).to_bytes(4, "little")
    assert read_label(tmp_path / "mask.nii").array_zyx.sum() == 40000


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, "U3"])
def test_types_that_files_do_not_have_are_refused(dtype, tmp_path):
    with pytest.raises(ValueError, match="expected integers, float32 or float64"):
        write_volume(Volume(np.zeros((2, 2, 2), dtype), Geometry((2, 2, 2), (1, 1, 1))), tmp_path / "scan.nii")


def test_bool_is_written_as_uint8(tmp_path):
    write_volume(Volume(np.ones((2, 2, 2), bool), Geometry((2, 2, 2), (1, 1, 1))), tmp_path / "scan.mha")
    assert sitk.ReadImage(str(tmp_path / "scan.mha")).GetPixelIDTypeAsString() == "8-bit unsigned integer"
