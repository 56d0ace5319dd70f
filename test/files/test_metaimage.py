from __future__ import annotations

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import MHA_HEADER, VOXELS, mha, packed_mha, refused

from swfastedit_core import Geometry, read_volume


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
    assert "CompressedDataSize" in message or "cannot be read" in message
