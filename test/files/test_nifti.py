from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from handwritten import nifti, refused

from swfastedit_core import DataWarning, Geometry, read_ct, read_volume


@pytest.mark.parametrize("order", "<>")
def test_nifti_of_either_byte_order_is_read_whole_or_not_at_all(order, tmp_path):
    path = nifti(tmp_path / "scan.nii", order=order)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array_zyx.ravel(), np.arange(24))
    assert (volume.geometry.size_xyz, volume.geometry.spacing_mm) == ((4, 3, 2), (2.0, 2.0, 3.0))
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated, 95 bytes of voxel data where the header promises 96" in refused(path)


@pytest.mark.parametrize("millimetres", [0.0, -2.0, np.nan, np.inf])
@pytest.mark.parametrize("packed", [False, True])
def test_impossible_nifti_spacing_is_refused_although_itk_makes_one_millimetre_of_it(packed, millimetres, tmp_path):
    path = nifti(tmp_path / "scan.nii", spacing_mm=(2.0, millimetres, 3.0))
    if packed:
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "scan.nii").read_bytes()))
    assert refused(path).startswith(f"voxel spacing (2.0, {millimetres}, 3.0) mm, expected three ")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_2_is_read(suffix, order, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    header = nibabel.Nifti2Header(endianness=order)
    nibabel.Nifti2Image(array, np.diag([2, 3, 4, 1]), header).to_filename(tmp_path / f"scan{suffix}")
    volume = read_volume(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(volume.array_zyx, array.T)
    assert volume.geometry == Geometry((4, 3, 2), (2.0, 3.0, 4.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (1, 0), (2, 0), (1, 5), (-1, 30)])
def test_compressed_nifti_is_scaled_as_its_header_says(slope, intercept, order, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii", order=order).read_bytes())
    struct.pack_into(order + "2f", content, 112, slope, intercept)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    expected = np.arange(24) * (slope or 1) + intercept  # a slope of 0 means: do not scale
    np.testing.assert_array_equal(read_volume(path).array_zyx.ravel(), expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("slope", [0, 2])
def test_nifti_that_is_not_finite_is_read_alike_however_it_is_written(slope, suffix, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<2f", content, 112, slope, 0)
    struct.pack_into("<3f", content, 352, np.nan, np.inf, -np.inf)
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(gzip.compress(bytes(content)) if suffix == ".nii.gz" else bytes(content))
    expected = np.arange(24) * (slope or 1)
    for read, fill in ((read_volume, 0), (read_ct, -1024)):  # ITK makes 0 of them without a word
        expected[:3] = fill
        with pytest.warns(DataWarning) as caught:
            np.testing.assert_array_equal(read(path).array_zyx.ravel(), expected)
        assert f"3 voxels were not finite numbers and became {fill}" in "".join(str(one.message) for one in caught)


@pytest.mark.parametrize("start", [2.0**33, 2.0**36, 2.0**45])
def test_compressed_nifti_with_its_voxels_far_away_takes_no_memory(start, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<f", content, 108, start)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    assert "truncated" in refused(path)


@pytest.mark.parametrize("start", [352, 354, 356, 368])
def test_voxels_are_taken_from_where_a_compressed_nifti_says(start, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<f", content, 108, start)
    content[352:352] = bytes(start - 352)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    np.testing.assert_array_equal(read_volume(path).array_zyx.ravel(), np.arange(24))
