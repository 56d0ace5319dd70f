from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import image, mha, nifti, refused, values

from swfastedit_core import Geometry, UserError, Volume, read_volume
from swfastedit_core.files.geometry import read_geometry


def test_geometry_says_what_it_holds():
    geometry = Geometry((4, 3, 2), (2.0, 2.5, 4.0))
    assert geometry.shape_zyx == (2, 3, 4)
    assert geometry.voxel_ml == pytest.approx(0.02)
    with pytest.raises(ValueError, match="on a grid of"):
        Volume(np.zeros((4, 3, 2)), geometry)


@pytest.mark.parametrize(
    ("array", "more", "message"),
    [
        (np.zeros((4, 5)), {}, r"2 dimensions \(5×4\), expected three"),
        (np.zeros((3, 4, 5, 6)), {"isVector": False}, r"4 dimensions \(6×5×4×3\), expected three"),
        (np.zeros((4, 5, 6, 3)), {"isVector": True}, r"3 component\(s\), expected one number each"),
    ],
)
def test_other_than_one_number_in_three_dimensions_is_refused(array, more, message, tmp_path):
    sitk.WriteImage(image(array, **more), str(tmp_path / "scan.mha"))
    with pytest.raises(UserError, match=message):
        read_volume(tmp_path / "scan.mha")


def test_complex_numbers_are_refused(tmp_path):
    sitk.WriteImage(sitk.Cast(image(values()), sitk.sitkComplexFloat32), str(tmp_path / "scan.nii"))
    assert "expected one number each" in refused(tmp_path / "scan.nii")


def test_scan_beyond_the_limit_is_refused_by_its_header(tmp_path):
    path = mha(tmp_path / "scan.mha", "DimSize = 4 3 2", "DimSize = 1500 1500 500")
    assert refused(path) == "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"


def test_scan_just_within_the_limit_fails_for_its_missing_voxels_only(tmp_path):
    path = mha(tmp_path / "scan.mha", "DimSize = 4 3 2", "DimSize = 1024 1024 1024")
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 2 2 3", b"ElementSpacing = 1 1 1"))
    assert refused(path).startswith("truncated, 96 bytes of voxel data where the header promises 4,294,967,296")


def test_nifti_beyond_the_limit_is_refused_by_its_header(tmp_path):
    path = nifti(tmp_path / "scan.nii", size=(1500, 1500, 500))
    assert refused(path) == "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"


def test_geometry_is_read_and_checked_without_the_voxels(tmp_path):
    whole = mha(tmp_path / "scan.mha", payload=b"")
    assert read_geometry(whole) == Geometry((4, 3, 2), (2.0, 2.0, 3.0))
    sheared = mha(tmp_path / "scan.mha", "TransformMatrix = 1 0 0 0", "TransformMatrix = 1 0 0 0.3", payload=b"")
    assert "orthonormal" in refused(sheared, read_geometry)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_named_file_is_read_where_packed_and_unpacked_lie_side_by_side(suffix, tmp_path):
    for number, name in enumerate((".nii", ".nii.gz"), start=1):
        sitk.WriteImage(image(number * values((2, 3, 4))), str(tmp_path / f"scan{name}"))
    factor = {".nii": 1, ".nii.gz": 2}[suffix]
    np.testing.assert_array_equal(read_volume(tmp_path / f"scan{suffix}").array_zyx, factor * values((2, 3, 4)))
