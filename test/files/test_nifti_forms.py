"""qform, sform and pixdim that contradict each other, and units."""

from __future__ import annotations

import gzip
import struct
import warnings

import nibabel
import numpy as np
import pytest
from handwritten import refused

from swfastedit_core import DataWarning, Volume, read_volume, write_mask
from swfastedit_core.files.geometry import read_geometry

ARRAY = np.random.default_rng(0).random((30, 40, 50), np.float32)  # [X, Y, Z]
AFFINE = np.array([[-5.0, 0, 0, 70], [0, 5, 0, -80], [0, 0, 6, -100], [0, 0, 0, 1]])


def nifti(path, *, sform=AFFINE, sform_code=1, qform=AFFINE, qform_code=1, units="mm", fields=()):
    """Write a NIfTI with these forms; then overwrite fields of its header: offset, format of `struct`, values."""
    image = nibabel.Nifti1Image(ARRAY, None)
    image.set_qform(qform, qform_code)
    image.set_sform(sform, sform_code)
    image.header["pixdim"][1:4] = np.linalg.norm(qform[:3, :3], axis=0)
    image.header.set_xyzt_units(units)
    image.to_filename(path)
    if fields:
        raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        for offset, form, *values in fields:
            struct.pack_into("<" + form, raw, offset, *values)
        path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


def said(path, **how):
    """Return the grid, and the warnings without the name of the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        geometry = read_volume(path, **how).geometry
    return geometry, [str(one.message).removeprefix(f"{path}: ") for one in caught]


def changed(**values):
    """Return AFFINE with some elements replaced: x_y=value for row x, column y."""
    affine = AFFINE.copy()
    for name, value in values.items():
        affine[int(name[1]), int(name[2])] = value
    return affine


def test_forms_that_agree_give_no_warning(tmp_path):
    geometry, warned = said(nifti(tmp_path / "scan.nii"))
    assert warned == []
    assert geometry.spacing_mm == pytest.approx((5, 5, 6))
    assert geometry.origin_mm == pytest.approx((-70, 80, -100))
    assert geometry.direction == (1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_other_left_and_right_is_refused_and_a_form_can_be_chosen(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", sform=changed(e00=5.0, e03=-70.0))
    assert refused(path) == (
        "sform and qform contradict each other about left and right: the axes run to RAS and to LAS; say which is "
        "right with --geometry sform or --geometry qform"
    )
    assert said(path, form="sform")[0].direction == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert said(path, form="qform")[0].direction == (1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert said(path, form="qform")[1] == []


def test_other_voxel_sizes_are_refused(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", sform=changed(e22=3.0))
    assert refused(path) == (
        "sform and qform give voxels of 5×5×3 and 5×5×6; say which is right with --geometry qform or --geometry sform"
    )
    assert said(path, form="qform")[0].spacing_mm == pytest.approx((5, 5, 6))
    assert said(path, form="sform")[0].spacing_mm == pytest.approx((5, 5, 3))


def test_pixdim_is_compared_where_there_is_no_qform(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", qform_code=0, fields=[(76, "4f", 1, 1, 1, 1)])
    assert refused(path) == "sform and pixdim give voxels of 5×5×6 and 1×1×1; say which is right with --geometry sform"
    assert said(path, form="sform")[0].spacing_mm == pytest.approx((5, 5, 6))
    assert "sform and pixdim give voxels of" in refused(path, lambda path: read_geometry(path, form="qform"))


@pytest.mark.parametrize("form", ["qform", "sform"])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (0, 0)])
def test_form_that_does_not_exist_settles_nothing(codes, form, tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", sform_code=codes[0], qform_code=codes[1])
    assert said(path, form=form) == said(path)


def test_qform_that_is_no_number_is_not_compared(tmp_path):
    path = nifti(tmp_path / "scan.nii", fields=[(268, "f", np.nan)])
    geometry, warned = said(path)
    assert warned == ["the qform has values that are not finite; the sform was taken"]
    assert geometry.origin_mm == pytest.approx((-70, 80, -100))


def test_slope_that_is_no_number_scales_nothing_with_a_warning(tmp_path):
    path = nifti(tmp_path / "scan.nii", fields=[(112, "f", np.nan)])
    assert said(path)[1] == ["the header gives NaN as the slope of the values; they were not scaled"]


@pytest.mark.parametrize(
    ("fields", "units"),
    [([(500, "i", 0x102)], 2), ([(352, "d", 1e300)], 2), ([(344, "i", 0), (376, "3d", 1e300, 0, 0)], 2)],
)
def test_mask_of_a_nifti_2_with_odd_fields_is_written(fields, units, tmp_path):
    image = nibabel.Nifti2Image(ARRAY, None)
    image.set_qform(AFFINE, 0)
    image.set_sform(AFFINE, 1)
    image.header["pixdim"][1:4] = (5, 5, 6)
    raw = bytearray(image.to_bytes())
    for offset, form, *values in fields:
        struct.pack_into("<" + form, raw, offset, *values)
    (tmp_path / "scan.nii").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        geometry = read_volume(tmp_path / "scan.nii").geometry
    write_mask(Volume(np.zeros((50, 40, 30), np.uint8), geometry), tmp_path / "mask.nii")
    written = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
    assert int(written.header["xyzt_units"]) & 7 in (0, units)


def test_codes_beyond_the_standard_are_refused(tmp_path):
    image = nibabel.Nifti2Image(ARRAY, AFFINE)
    raw = bytearray(image.to_bytes())
    struct.pack_into("<i", raw, 348, 70000)
    (tmp_path / "scan.nii").write_bytes(raw)
    assert refused(tmp_path / "scan.nii") == "the header says sform_code = 70000, expected 0 to 5; is the file damaged?"


def test_pixdim_that_is_rounded_is_no_contradiction(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", qform_code=0, fields=[(76, "4f", 1, 5.02, 4.98, 6)])
    assert said(path)[1] == []


@pytest.mark.parametrize(("millimetres", "warned"), [(0.4, False), (0.6, True)])  # a tenth of a voxel is 0.5 mm
def test_shifted_forms_are_warned_of(millimetres, warned, tmp_path):
    geometry, words = said(nifti(tmp_path / "scan.nii", qform=changed(e03=70 + millimetres)))
    assert geometry.origin_mm[0] == -70
    expected = "sform and qform lay the scan in places up to 0.6 mm apart; the sform was taken (--geometry qform"
    assert [word.startswith(expected) for word in words] == [True] * warned


def test_turned_forms_are_warned_of(tmp_path):
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE  # half a turn about the axis of the body
    geometry, (word,) = said(nifti(tmp_path / "scan.nii", qform=turned))
    assert "lay the scan in places up to" in word
    assert geometry.direction == (1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_no_code_is_warned_of_and_the_array_axes_are_taken(tmp_path):
    geometry, (word,) = said(nifti(tmp_path / "scan.nii", sform_code=0, qform_code=0))
    assert word.startswith("the header gives no patient axes (qform and sform codes are 0)")
    assert geometry.spacing_mm == (5, 5, 6)
    assert geometry.direction == (-1, 0, 0, 0, -1, 0, 0, 0, 1)  # right, anterior, superior: nifti1.h, method 1


@pytest.mark.parametrize("qform_code", [0, 1])
def test_shear_is_refused_in_our_words(qform_code, tmp_path):
    path = nifti(tmp_path / "scan.nii", sform=changed(e12=0.4), qform_code=qform_code)
    way_out = "use --geometry qform if that is right" if qform_code else "resample the scan first"
    assert refused(path) == f"the sform has axes that are not orthogonal (it shears the scan); {way_out}"
    if qform_code:
        assert said(path, form="qform")[0].spacing_mm == (5, 5, 6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_forms_with_values_that_are_no_numbers_are_refused(value, tmp_path):
    path = nifti(tmp_path / "scan.nii", qform_code=0, fields=[(280, "f", value)])
    assert "the sform has no voxel size or values that are not finite" in refused(path)
    path = nifti(tmp_path / "scan.nii", sform_code=0, fields=[(256, "f", value)])
    assert "the qform has no voxel size or values that are not finite" in refused(path)


@pytest.mark.parametrize(("units", "factor"), [("mm", 1.0), ("meter", 1e-3), ("micron", 1e3), ("unknown", 1.0)])
def test_units_are_converted(units, factor, tmp_path):
    affine = AFFINE * factor
    affine[3, 3] = 1
    geometry, warned = said(nifti(tmp_path / "scan.nii", sform=affine, qform=affine, units=units))
    assert warned == []
    assert geometry.spacing_mm == pytest.approx((5, 5, 6))
    assert geometry.origin_mm == pytest.approx((-70, 80, -100))


def test_unknown_unit_is_warned_of(tmp_path):
    _, warned = said(nifti(tmp_path / "scan.nii", fields=[(123, "B", 5)]))
    assert warned == ["the header gives the length unit as code 5, which is unknown; lengths are taken as mm"]


def test_metres_called_millimetres_are_said(tmp_path):
    affine = AFFINE / 1000
    affine[3, 3] = 1
    _, (warned,) = said(nifti(tmp_path / "scan.nii", sform=affine, qform=affine))
    assert (
        warned == "the scan measures 0.015 × 0.02 × 0.03 cm by its header, hardly a body; is the voxel spacing in mm?"
    )


@pytest.mark.parametrize(("fields", "words"), [
    ([(40, "h", -1)], "the header says -1 dimensions ()"),
    ([(40, "h", 9)], "the header says 9 dimensions"),
    ([(46, "h", -50)], "the header says 3 dimensions (30×40×-50), expected three positive numbers"),
    ([(40, "h", 4), (48, "h", 3)], "4 dimensions (30×40×50×3), expected three: one static volume"),
    ([(112, "f", np.inf)], "the header scales the values by inf and 0.0, expected finite numbers"),
    ([(112, "2f", 1, np.inf)], "the header scales the values by 1.0 and inf, expected finite numbers"),
    ([(70, "h", 128)], "voxels are of NIfTI's type 128 with 1 component(s), expected one number each"),
    ([(108, "f", -1)], "the header says that the voxels begin at byte -1.0; is the file damaged?"),
    ([(344, "4s", b"ni1\0")], "its voxels lie in another file; expected one self-contained NIfTI file"),
    ([(344, "4s", b"what")], "it has no NIfTI magic; expected one self-contained NIfTI file"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_false_headers_are_refused(fields, words, suffix, tmp_path):
    assert words in refused(nifti(tmp_path / f"scan{suffix}", fields=fields))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_bitpix_does_not_count_and_a_slope_of_0_scales_nothing(suffix, tmp_path):
    path = nifti(tmp_path / f"scan{suffix}", fields=[(72, "h", 64), (112, "2f", 0, 5)])
    np.testing.assert_array_equal(read_volume(path).array_zyx, ARRAY.T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_trailing_axes_of_one_are_dropped(suffix, tmp_path):
    nibabel.save(nibabel.Nifti1Image(ARRAY[..., None, None], AFFINE), tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"scan{suffix}").array_zyx, ARRAY.T)


def test_file_that_is_compressed_twice_is_named(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz")
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert refused(path) == "is compressed twice; unpack it once"


def test_scaled_bytes_are_no_grey_levels(tmp_path):
    image = nibabel.Nifti1Image((ARRAY * 200).astype(np.uint8), AFFINE)
    image.header.set_slope_inter(0.05, 0)
    raw = bytearray(image.to_bytes())
    struct.pack_into("<2f", raw, 112, 0.05, 0)
    (tmp_path / "scan.nii").write_bytes(raw)
    assert said(tmp_path / "scan.nii")[1] == []


def test_gzip_called_nii_and_plain_nifti_called_nii_gz_are_read(tmp_path):
    plain, packed = nifti(tmp_path / "a.nii").read_bytes(), nifti(tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(plain)
    (tmp_path / "a.nii").write_bytes(packed)
    for name in ("a.nii", "b.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array_zyx, ARRAY.T)
