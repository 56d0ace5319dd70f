from __future__ import annotations

import gzip
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import VOXELS, image, mha, nifti, refused, values

from swfastedit_core import DataWarning, Geometry, UserError, Volume, read_ct, read_volume, write_mask, write_volume
from swfastedit_core.files.formats import SUFFIXES
from swfastedit_core.files.geometry import read_geometry

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


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_number_type_becomes_float32(kind, suffix, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image(array), str(path))
    volume = read_volume(path)
    assert volume.array_zyx.dtype == np.float32
    np.testing.assert_array_equal(volume.array_zyx, array)


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


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("ElementSpacing = 2 2 3", "ElementSpacing = 0 2 3", "spacing"),
        ("ElementSpacing = 2 2 3", "ElementSpacing = -2 2 3", "elementspacing = -2 2 3, expected 3 positive"),
        ("ElementSpacing = 2 2 3", "ElementSpacing = nan 2 3", "spacing"),
        ("ElementSpacing = 2 2 3", "ElementSpacing = inf 2 3", "spacing"),
        ("TransformMatrix = 1 0 0 0", "TransformMatrix = 1 0 0 0.3", "orthonormal"),
        ("TransformMatrix = 1 0 0 0 1", "TransformMatrix = 2 0 0 0 1", "orthonormal"),
        ("MET_FLOAT", "MET_BANANA", "header"),
        ("DimSize = 4 3 2", "DimSize = 0 3 2", "DimSize = 0 3 2, expected 3 positive numbers"),
        ("DimSize = 4 3 2", "DimSize = 4 -3 2", "DimSize = 4 -3 2, expected 3 positive numbers"),
        ("DimSize = 4 3 2", "DimSize = 4 3", "DimSize = 4 3, expected 3 positive numbers"),
        ("NDims = 3", "NDims = -3", "NDims = -3, expected 3"),  # ITK crashes
        ("NDims = 3", "NDims = 99", "NDims = 99, expected 3"),
        ("ElementSpacing = 2 2 3", "Comment = no spacing", "the header gives no voxel spacing"),  # ITK takes 1 mm
        ("ElementSpacing = 2 2 3", "ElementSpacing = 2 2", "elementspacing = 2 2, expected 3 positive numbers"),
        ("ElementSpacing = 2 2 3", "ElementSpacing = 2 2 1e30", "expected three numbers from 0.001 to 1000.0"),
        ("Offset = 0 0 0", "Offset = nan 0 0", "offset = nan 0 0, expected 3 finite numbers"),
        ("Offset = 0 0 0", "Offset = 0 0 left", "offset = 0 0 left, expected 3 finite numbers"),
        ("ElementDataFile = LOCAL", "ElementDataFile = elsewhere.raw", "expected one self-contained .mha"),
        ("CompressedData = False", "CompressedData = True", "the compressed voxel data is damaged"),
    ],
)
def test_impossible_header_is_refused(old, new, word, tmp_path):
    assert word in refused(mha(tmp_path / "scan.mha", old, new))


def test_handwritten_header_is_read_when_nothing_is_wrong(tmp_path):
    volume = read_volume(mha(tmp_path / "scan.mha"))
    assert volume.array_zyx[1, 2, 3] == 23
    assert volume.geometry == Geometry((4, 3, 2), (2.0, 2.0, 3.0))


def test_scan_beyond_the_limit_is_refused_by_its_header(tmp_path):
    path = mha(tmp_path / "scan.mha", "DimSize = 4 3 2", "DimSize = 1500 1500 500")
    assert refused(path) == "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"


def test_scan_just_within_the_limit_fails_for_its_missing_voxels_only(tmp_path):
    path = mha(tmp_path / "scan.mha", "DimSize = 4 3 2", "DimSize = 1024 1024 1024")
    assert refused(path).startswith("truncated, 96 bytes of voxel data where the header promises 4,294,967,296")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_named_file_is_read_where_packed_and_unpacked_lie_side_by_side(suffix, tmp_path):
    for number, name in enumerate((".nii", ".nii.gz"), start=1):
        sitk.WriteImage(image(number * values((2, 3, 4))), str(tmp_path / f"scan{name}"))
    factor = {".nii": 1, ".nii.gz": 2}[suffix]
    np.testing.assert_array_equal(read_volume(tmp_path / f"scan{suffix}").array_zyx, factor * values((2, 3, 4)))


def test_scan_of_one_value_is_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="every voxel is 0, there is no image in it"):
        assert not read_volume(mha(tmp_path / "scan.mha", payload=b"\0" * 96)).array_zyx.any()


def test_more_voxel_data_than_promised_is_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="100 bytes of voxel data where the header promises 96; the rest is ignored"):
        assert read_volume(mha(tmp_path / "scan.mha", payload=VOXELS + b"more")).array_zyx.shape == (2, 3, 4)


def test_nrrd_without_a_spacing_is_refused_although_itk_takes_one_millimetre(tmp_path):
    fields = "NRRD0004\ntype: float\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"\n" + VOXELS)
    assert refused(tmp_path / "scan.nrrd") == "the header gives no voxel spacing (spacings or space directions)"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"spacings: 2 2 3\n\n" + VOXELS)
    assert read_volume(tmp_path / "scan.nrrd").geometry.spacing_mm == (2.0, 2.0, 3.0)


def test_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("é" * 120 + ".nii.gz")  # 247 bytes
    write_volume(Volume(values(), Geometry((8, 7, 6), (2.0, 2.0, 3.0))), path)
    np.testing.assert_array_equal(read_volume(path).array_zyx, values())


@pytest.mark.parametrize("order", "<>")
def test_nifti_of_either_byte_order_is_read_whole_or_not_at_all(order, tmp_path):
    path = nifti(tmp_path / "scan.nii", order=order)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array_zyx.ravel(), np.arange(24))
    assert (volume.geometry.size_xyz, volume.geometry.spacing_mm) == ((4, 3, 2), (2.0, 2.0, 3.0))
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated, 447 bytes of voxel data where the header promises 448" in refused(path)  # 352 + 24 × 4


@pytest.mark.parametrize("millimetres", [0.0, -2.0, np.nan, np.inf])
@pytest.mark.parametrize("packed", [False, True])
def test_impossible_nifti_spacing_is_refused_although_itk_makes_one_millimetre_of_it(packed, millimetres, tmp_path):
    path = nifti(tmp_path / "scan.nii", spacing_mm=(2.0, millimetres, 3.0))
    if packed:
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "scan.nii").read_bytes()))
    assert refused(path).startswith(f"voxel spacing (2.0, {millimetres}, 3.0) mm, expected three ")


def test_geometry_is_read_and_checked_without_the_voxels(tmp_path):
    whole = mha(tmp_path / "scan.mha", payload=b"")
    assert read_geometry(whole) == Geometry((4, 3, 2), (2.0, 2.0, 3.0))
    sheared = mha(tmp_path / "scan.mha", "TransformMatrix = 1 0 0 0", "TransformMatrix = 1 0 0 0.3", payload=b"")
    assert "orthonormal" in refused(sheared, read_geometry)


def test_nifti_2_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.Nifti2Image(np.ones((4, 3, 2), np.float32), np.eye(4)).to_filename(tmp_path / "scan.nii")
    assert "the header cannot be read as an image" in refused(tmp_path / "scan.nii")


def test_nifti_beyond_the_limit_is_refused_by_its_header(tmp_path):
    path = nifti(tmp_path / "scan.nii", size=(1500, 1500, 500))
    assert refused(path) == "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"sizes: 8 7 6", b"sizes: 1500 1500 500", "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"),
        (b"(1,0,0)", b"(0,0,0)", "voxel spacing (0.0, 1.0, 1.0) mm"),
        (b"(1,0,0)", b"(1,0.5,0)", "not orthonormal"),
        (b"(1,0,0)", b"(nan,0,0)", "the header cannot be read"),
        (b"\n\n", b"\ndata file: elsewhere.raw\n\n", "expected one self-contained .nrrd"),
    ],
)
def test_impossible_nrrd_header_is_refused(old, new, words, tmp_path):
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image(values()), str(path))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    (tmp_path / "elsewhere.raw").write_bytes(values().tobytes())
    assert words in refused(path)


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "folder.mha").mkdir()
    (tmp_path / "text.mha").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "plain.nii.gz").write_bytes(b"not gzip at all" * 40)
    expected = {
        "none.mha": "no such file",
        "folder.mha": "is not a file, expected one volume",
        "text.txt": "unknown file type, expected one of .mha .nii.gz .nii .nrrd, in lower case",
    }
    for suffix in SUFFIXES:
        (tmp_path / f"empty{suffix}").touch()
        expected[f"empty{suffix}"] = "the file is empty"
    for name, message in expected.items():
        assert refused(tmp_path / name) == message
    assert "header cannot be read" in refused(tmp_path / "text.mha")
    assert "header cannot be read" in refused(tmp_path / "plain.nii.gz")


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
    array = np.ones((2, 3, 4), np.float32)
    array.ravel()[:bad] = np.nan
    sitk.WriteImage(image(array), str(tmp_path / "scan.mha"))
    if is_refused:
        assert refused(tmp_path / "scan.mha").startswith(f"{bad} of 24 voxels are not finite numbers")
    else:
        with pytest.warns(DataWarning, match="12 voxels"):
            assert read_volume(tmp_path / "scan.mha").array_zyx.sum() == 12


@pytest.mark.parametrize(("maximum", "warned"), [(1000.0, False), (1000.5, True), (2e5, True)])
def test_values_that_cannot_be_suv_give_a_warning(maximum, warned, tmp_path):
    array = values()
    array[3, 3, 3] = maximum
    sitk.WriteImage(image(array), str(tmp_path / "scan.mha"))
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
    sitk.WriteImage(image(np.array(hu, np.int16).reshape(1, 2, 2)), str(path))
    found, said = warnings_of(read_ct, path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.ravel(), hu)
    assert len(said) == (words is not None)
    if words:
        assert said[0].startswith(f"{path}: {words}")


def test_voxels_of_a_ct_that_are_no_numbers_become_air(tmp_path):
    path = tmp_path / "ct.mha"
    sitk.WriteImage(image(np.array([np.nan, -1000, 30, np.inf], np.float32).reshape(1, 2, 2)), str(path))
    found, said = warnings_of(read_ct, path)
    assert found.ravel().tolist() == [-1024, -1000, 30, -1024]
    assert said == [f"{path}: 2 voxels were not finite numbers and became -1024"]
    sitk.WriteImage(image(np.array([np.nan, np.nan, 30, np.inf], np.float32).reshape(1, 2, 2)), str(path))
    assert refused(path, read_ct) == "3 of 4 voxels are not finite numbers, expected a CT in HU"


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


@pytest.mark.parametrize(("old", "new"), [("DimSize = 4 3 2", "DimSize = 4.0 3 2"), ("NDims = 3", "NDims : 3")])
def test_other_spellings_that_itk_takes_are_read(old, new, tmp_path):
    assert read_volume(mha(tmp_path / "a.mha", old, new)).array_zyx.shape == (2, 3, 4)


def test_voxels_written_as_text_are_refused(tmp_path):
    path = mha(tmp_path / "a.mha", "BinaryData = True", "BinaryData = False", b"1 " * 24)
    assert refused(path) == "its voxels are written as text (BinaryData = False); expected a binary .mha"


@pytest.mark.parametrize("name", ["a.MHA", "a.NII", "a.NII.GZ", "a.Nrrd"])
def test_endings_that_itk_does_not_know_are_refused_for_reading_and_writing(name, tmp_path):
    write_volume(Volume(values(), Geometry((8, 7, 6), (1.0, 1.0, 1.0))), tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    assert refused(tmp_path / name).endswith("in lower case")
    with pytest.raises(UserError, match="in lower case"):
        write_mask(Volume(np.zeros((6, 7, 8), np.uint8), Geometry((8, 7, 6), (1.0, 1.0, 1.0))), tmp_path / f"b{name}")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_name_that_is_not_utf8_is_refused(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.mha"))
    mha(path)
    with pytest.raises(UserError, match=r"a\\udcff\.mha'?: the name is not UTF-8"):
        read_volume(path)
