from __future__ import annotations

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import MHA_HEADER, VOXELS, mha, packed_mha, refused

from swfastedit_core import DataWarning, Geometry, read_volume


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
        ("CompressedData = False", "CompressedData = True", "CompressedDataSize = nothing, expected a number of bytes"),
        (
            "CompressedData = False",
            "CompressedData = True\nCompressedDataSize = 96",
            "the compressed voxel data is damaged",
        ),
    ],
)
def test_impossible_header_is_refused(old, new, word, tmp_path):
    assert word in refused(mha(tmp_path / "scan.mha", old, new))


def test_handwritten_header_is_read_when_nothing_is_wrong(tmp_path):
    volume = read_volume(mha(tmp_path / "scan.mha"))
    assert volume.array_zyx[1, 2, 3] == 23
    assert volume.geometry == Geometry((4, 3, 2), (2.0, 2.0, 3.0))


@pytest.mark.parametrize(("old", "new"), [("DimSize = 4 3 2", "DimSize = 4.0 3 2"), ("NDims = 3", "NDims : 3")])
def test_other_spellings_that_itk_takes_are_read(old, new, tmp_path):
    assert read_volume(mha(tmp_path / "a.mha", old, new)).array_zyx.shape == (2, 3, 4)


def test_voxels_written_as_text_are_refused(tmp_path):
    path = mha(tmp_path / "a.mha", "BinaryData = True", "BinaryData = False", b"1 " * 24)
    assert refused(path) == "its voxels are written as text (BinaryData = False); expected a binary .mha"


BIG_ENDIAN = np.arange(24, dtype=">f4").tobytes()


ODD_MHA = {  # voxel data, lines of the header, and the values; None: those that ITK reads
    "little-endian": (VOXELS, "", np.arange(24)),
    "big-endian": (BIG_ENDIAN, "BinaryDataByteOrderMSB = True\n", np.arange(24)),
    "big-endian by its other name": (BIG_ENDIAN, "ElementByteOrderMSB = True\n", None),
    "whole numbers": (np.arange(24, dtype="<i4").tobytes(), "ElementType = MET_INT\n", np.arange(24)),
    "with what scanners add": (VOXELS, "0008|0060 = PT\nModality = MET_MOD_PET\n", np.arange(24)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD_MHA)
def test_compressed_metaimage_with_an_odd_header_is_read(kind, tmp_path):
    voxels, lines, expected = ODD_MHA[kind]
    packed = zlib.compress(voxels)
    left_out = {"CompressedData", "ElementDataFile", *(line.split(" =")[0] for line in lines.splitlines())}
    header = [line for line in MHA_HEADER.splitlines() if line.split(" =")[0] not in left_out]
    size = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    path = tmp_path / "scan.mha"
    path.write_bytes(("\n".join(header) + f"\n{size}{lines}ElementDataFile = LOCAL\n").encode() + packed)
    if expected is None:
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat32)).ravel()
    np.testing.assert_array_equal(read_volume(path).array_zyx.ravel(), expected)


@pytest.mark.parametrize("size", [8, -1])
def test_compressed_metaimage_with_a_gap_is_refused_although_itk_returns_unset_memory(size, tmp_path):
    line = "CompressedDataSize = {}\n" + f"HeaderSize = {size}\n"
    assert "HeaderSize" in refused(packed_mha(tmp_path / "a.mha", line))


@pytest.mark.parametrize("flag", ["True", "true", "T", "1"])
def test_compressed_voxels_are_read_however_the_flag_is_spelt(flag, tmp_path):
    volume = read_volume(packed_mha(tmp_path / "a.mha", "CompressedDataSize = {}\n", flag))
    np.testing.assert_array_equal(volume.array_zyx.ravel(), np.arange(24))


@pytest.mark.parametrize("flag", ["True", "T", "1"])
@pytest.mark.parametrize("line", ["", *(f"CompressedDataSize = {n}\n" for n in (0, 20, 10**6, -1, "many"))])
def test_wrong_compressed_size_is_refused_where_itk_returns_unset_memory(line, flag, tmp_path):
    message = refused(packed_mha(tmp_path / "a.mha", line, flag))
    said = line.split("= ")[-1].strip() if line else "nothing"
    known = (
        "bytes of compressed data (CompressedDataSize)" if said.isdigit() else f"CompressedDataSize = {said}, expected"
    )
    assert known in message


@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_scaled_as_the_header_says_with_a_warning(compressed, tmp_path):
    lines = "ElementToIntensityFunctionSlope = 0.5\nElementToIntensityFunctionOffset = 3\nElementDataFile = LOCAL"
    path = packed_mha(tmp_path / "a.mha", "CompressedDataSize = {}\n") if compressed else mha(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile = LOCAL", lines.encode()))
    with pytest.warns(DataWarning, match=r"as the header says \(ElementToIntensityFunctionSlope 0.5, Offset 3\)"):
        np.testing.assert_array_equal(read_volume(path).array_zyx.ravel(), np.arange(24) / 2 + 3)


@pytest.mark.parametrize("slope", ["0", "nan", "many"])
def test_impossible_scale_is_refused(slope, tmp_path):
    path = mha(tmp_path / "a.mha", "ElementDataFile", f"ElementToIntensityFunctionSlope = {slope}\nElementDataFile")
    assert f"slope = {slope}, expected a number that scales the values" in refused(path)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 10), ("um", 1e-3)])
def test_distance_units_are_converted(unit, factor, tmp_path):
    spacing = f"ElementSpacing = {40 / factor} {40 / factor} {50 / factor}\nDistanceUnits = {unit}"
    path = mha(tmp_path / "a.mha", "ElementSpacing = 2 2 3", spacing)
    path.write_bytes(path.read_bytes().replace(b"Offset = 0 0 0", f"Offset = {7 / factor} 0 0".encode()))
    assert read_volume(path).geometry == Geometry((4, 3, 2), (40.0, 40.0, 50.0), (pytest.approx(7.0), 0.0, 0.0))


def test_unknown_distance_unit_is_warned_of(tmp_path):
    path = mha(tmp_path / "a.mha", "ElementSpacing", "DistanceUnits = inch\nElementSpacing")
    with pytest.warns(DataWarning, match="DistanceUnits = inch, which is unknown"):
        assert read_volume(path).geometry.spacing_mm == (2, 2, 3)


@pytest.mark.parametrize("size", [4, -1])
def test_header_size_is_refused_where_it_would_move_the_voxels(size, tmp_path):
    path = mha(tmp_path / "a.mha", "ElementDataFile", f"HeaderSize = {size}\nElementDataFile")
    assert refused(path) == f"the header says HeaderSize = {size}, expected none; write it anew"


def test_trailing_axis_of_one_is_dropped(tmp_path):
    header = MHA_HEADER
    for old, new in (
        ("NDims = 3", "NDims = 4"), ("DimSize = 4 3 2", "DimSize = 4 3 2 1"), ("= 2 2 3", "= 2 2 3 1"),
        ("Offset = 0 0 0", "Offset = 1 2 3 0"),
        ("1 0 0 0 1 0 0 0 1", "0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1"),
    ):  # fmt: skip
        assert old in header
        header = header.replace(old, new)
    (tmp_path / "a.mha").write_bytes(header.encode() + VOXELS)
    volume = read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array_zyx.ravel(), np.arange(24))
    assert volume.geometry == Geometry((4, 3, 2), (2.0, 2.0, 3.0), (1.0, 2.0, 3.0), (0, 1, 0, 1, 0, 0, 0, 0, 1))


def test_origins_that_contradict_each_other_are_refused(tmp_path):
    path = mha(tmp_path / "a.mha", "Offset = 0 0 0", "Offset = 0 0 0\nPosition = 0 0 5")
    assert refused(path) == "the header says offset = 0 0 0 and position = 0 0 5, expected the same"
    assert read_volume(mha(tmp_path / "b.mha", "Offset = 0 0 0", "Offset = 0 0 0\nPosition = 0 0 0")).array_zyx.any()


def test_size_that_is_no_whole_number_is_refused(tmp_path):
    assert "DimSize = 4.9 3 2, expected 3 positive numbers" in refused(mha(tmp_path / "a.mha", "= 4 3 2", "= 4.9 3 2"))
