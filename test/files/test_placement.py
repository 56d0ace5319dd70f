"""Where a mask lies: written for scans of random geometry, and checked with another library than wrote the scan."""

from __future__ import annotations

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from swfastedit_core import Volume, read_volume, write_mask
from swfastedit_core.preprocess import place

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLACE_MM = 1e-3  # float32 coordinates of a metre are exact to 1e-4 mm
QFORM_MM = 0.02  # a quaternion in float32 leaves an angle of 3e-4 rad undefined near half a turn


@st.composite
def affines(draw):
    """A voxel-to-RAS matrix: any rotation, handedness, spacing and origin."""
    rotation = Rotation.from_euler("xyz", [draw(st.floats(-180, 180)) for _ in range(3)], degrees=True).as_matrix()
    if draw(st.booleans()):  # an exact permutation of the axes, as most scans have
        rotation = np.rint(
            Rotation.from_euler("xyz", [90 * draw(st.integers(0, 3)) for _ in range(3)], degrees=True).as_matrix()
        )
    flip = np.diag([1.0, 1.0, draw(st.sampled_from([1.0, -1.0]))])
    spacing = [draw(st.floats(0.5, 8.0)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ flip * spacing
    affine[:3, 3] = [draw(st.floats(-900, 900)) for _ in range(3)]
    return affine


ARRAY = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)  # [X, Y, Z]
MARKED = (4, 1, 2)  # the voxel that the mask marks


def write_with_nibabel(path, affine):
    nibabel.save(nibabel.Nifti1Image(ARRAY, affine), path)


def write_nifti_2(path, affine):
    nibabel.save(nibabel.Nifti2Image(ARRAY, affine), path)


def write_qform_only(path, affine):
    image = nibabel.Nifti1Image(ARRAY, None)
    image.set_sform(None, 0)
    image.set_qform(affine, 1)
    nibabel.save(image, path)


def write_sform_only(path, affine):
    image = nibabel.Nifti1Image(ARRAY, None)
    image.set_qform(None, 0)
    image.set_sform(affine, 2)
    image.header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    nibabel.save(image, path)


def write_with_itk(path, affine):
    image = sitk.GetImageFromArray(ARRAY.T.copy())
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection((lps[:3, :3] / spacing).ravel())
    sitk.WriteImage(image, str(path), True)


def in_centimetres(write):
    """Return a writer of the same image in centimetres, with the unit in the text of the header."""

    def write_scaled(path, affine):
        scaled = affine.copy()
        scaled[:3] /= 10
        write(path, scaled)
        head, separator, rest = path.read_bytes().partition(b"ElementDataFile" if path.suffix == ".mha" else b"\n\n")
        line = b"DistanceUnits = cm\n" if path.suffix == ".mha" else b'\nspace units: "cm" "cm" "cm"'
        path.write_bytes(head + line + separator + rest)

    return write_scaled


def scaled_by(factor, place_of):
    """Return a reader that knows nothing of units: its coordinates are those in the file."""
    return lambda path: place_of(path) * factor


def write_with_pynrrd(path, affine):
    header = {"space": "right-anterior-superior", "space directions": affine[:3, :3].T, "space origin": affine[:3, 3]}
    nrrd.write(str(path), ARRAY, header)


def place_by_nibabel(path):
    """Return the RAS coordinates of the one voxel that is 1."""
    image = nibabel.load(path)
    (index,) = np.argwhere(np.asarray(image.dataobj) == 1)
    return (image.affine @ [*index, 1])[:3]


def place_by_nibabel_qform(path):
    image = nibabel.load(path)
    (index,) = np.argwhere(np.asarray(image.dataobj) == 1)
    return (image.get_qform() @ [*index, 1])[:3]


def place_by_itk(path):
    image = sitk.ReadImage(str(path))
    (index,) = np.argwhere(sitk.GetArrayFromImage(image) == 1)
    left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint(index[::-1].astype(float).tolist())
    return np.array([-left, -posterior, superior])


def place_by_pynrrd(path):
    array, header = nrrd.read(str(path))
    (index,) = np.argwhere(array == 1)
    assert header["space"] == "left-posterior-superior"
    left, posterior, superior = index @ header["space directions"] + header["space origin"]
    return np.array([-left, -posterior, superior])


WAYS = {
    "NIfTI by nibabel, read by ITK": (write_with_nibabel, ".nii.gz", place_by_itk),
    "NIfTI by nibabel, its qform": (write_with_nibabel, ".nii", place_by_nibabel_qform),
    "NIfTI-2 by nibabel": (write_nifti_2, ".nii.gz", place_by_nibabel),
    "qform only, read by ITK": (write_qform_only, ".nii", place_by_itk),
    "qform only, read by nibabel": (write_qform_only, ".nii.gz", place_by_nibabel),
    "sform only, read by ITK": (write_sform_only, ".nii.gz", place_by_itk),
    "sform only, read by nibabel": (write_sform_only, ".nii", place_by_nibabel),
    "NIfTI by ITK, read by nibabel": (write_with_itk, ".nii.gz", place_by_nibabel),
    "NRRD by ITK, read by pynrrd": (write_with_itk, ".nrrd", place_by_pynrrd),
    "NRRD by pynrrd, read by ITK": (write_with_pynrrd, ".nrrd", place_by_itk),
    "MetaImage by ITK": (write_with_itk, ".mha", place_by_itk),
    "MetaImage in cm": (in_centimetres(write_with_itk), ".mha", scaled_by(10, place_by_itk)),
    "NRRD in cm": (in_centimetres(write_with_pynrrd), ".nrrd", scaled_by(10, place_by_pynrrd)),
}


@pytest.mark.filterwarnings("ignore::swfastedit_core.errors.DataWarning")
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(affine=affines())
def test_mask_lies_on_the_scan_for_another_reader(way, affine, tmp_path):
    write, suffix, place_of = WAYS[way]
    scan, mask = tmp_path / f"scan{suffix}", tmp_path / f"mask{suffix}"
    write(scan, affine)
    volume = read_volume(scan)
    np.testing.assert_array_equal(volume.array_zyx, ARRAY.T)
    marked = np.zeros(ARRAY.shape, np.uint8)
    marked[MARKED] = 1
    write_mask(Volume(marked.T.copy(), volume.geometry), mask)
    expected = (affine @ [*MARKED, 1])[:3]
    within = QFORM_MM if "qform" in way else PLACE_MM
    np.testing.assert_allclose(place_of(mask), expected, rtol=0, atol=within)
    own = volume.geometry
    inside = np.array(own.origin_mm) + own.axes_lps @ (np.array(MARKED) * own.spacing_mm)
    np.testing.assert_allclose(inside * [-1, -1, 1], expected, rtol=0, atol=within)
    again = read_volume(mask).geometry
    if own.nifti is not None:
        assert (again.nifti.sform_code, again.nifti.qform_code) == (own.nifti.sform_code, own.nifti.qform_code)
        assert again.nifti.srow == pytest.approx(own.nifti.srow, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(again.corners_mm, own.corners_mm, rtol=0, atol=PLACE_MM)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_mask_carries_both_forms_their_codes_and_the_unit(suffix, tmp_path):
    affine, shifted = np.diag([-4.0, 5.0, 6.0, 1.0]), np.diag([-4.0, 5.0, 6.0, 1.0])
    shifted[:3, 3] = 30, -7, 12
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((30, 40, 50)), None)
    image.set_sform(affine, 4)
    image.set_qform(shifted, 2)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / f"scan{suffix}")
    with pytest.warns(UserWarning, match="lay the scan in places up to 33.1 mm apart; the sform was taken"):
        geometry = read_volume(tmp_path / f"scan{suffix}").geometry
    assert geometry.origin_mm == (0, 0, 0)
    write_mask(Volume(np.zeros((50, 40, 30), np.uint8), geometry), tmp_path / f"mask{suffix}")
    written = nibabel.load(tmp_path / f"mask{suffix}").header
    assert (int(written["sform_code"]), int(written["qform_code"]), int(written["xyzt_units"])) == (4, 2, 2 + 8)
    np.testing.assert_array_equal(written.get_sform(), affine)
    np.testing.assert_array_equal(written.get_qform(), shifted)
    assert read_volume(tmp_path / f"scan{suffix}", form="qform").geometry.origin_mm == (-30, 7, 12)


def test_the_network_sees_every_orientation_alike(tmp_path):
    """The axes that the network gets are R, A, S, whatever the order and the signs in the file."""
    for axes in ("RAS", "LPS", "PIR", "SAL"):
        affine = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(axes), (5, 4, 3))
        write_with_nibabel(tmp_path / "scan.nii", affine @ np.diag([60.0, 60, 60, 1]))
        placement = place(read_volume(tmp_path / "scan.nii").geometry, (60.0, 60.0, 60.0))
        codes = [nibabel.aff2axcodes(affine)[axis] for axis in placement.file_axis]
        assert [code in "LPI" for code in codes] == list(placement.flipped)
        assert ["RL".find(codes[0]) >= 0, "AP".find(codes[1]) >= 0, "SI".find(codes[2]) >= 0] == [True] * 3
