from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import MHA_HEADER, VOXELS, image, nifti, packed_mha, refused, values
from places import ROOT

from swfastedit_core import DataWarning, read_ct, read_volume
from swfastedit_core.files.formats import SUFFIXES


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95, 0.9999])
def test_truncated_file_is_refused(suffix, compressed, kept, kind, tmp_path):
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image(values((20, 30, 40)).astype(kind)), str(path), compressed)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert any(word in refused(path) for word in ("truncated", "damaged", "header"))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("where", [0.4, 0.7, 0.99])
def test_flipped_byte_in_compressed_voxels_is_noticed(suffix, where, kind, tmp_path):
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image(values((20, 30, 40)).astype(kind)), str(path), True)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0x10
    path.write_bytes(content)
    assert any(word in refused(path) for word in ("damaged", "truncated", "header"))


def test_gzip_of_several_streams_is_read(tmp_path):
    sitk.WriteImage(image(values()), str(tmp_path / "scan.nii"))
    content = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content[:700]) + gzip.compress(content[700:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nii.gz").array_zyx, values())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])  # ITK has a second buffer for NIfTI
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


BIG_ENDIAN = np.arange(24, dtype=">f4").tobytes()
ODD_MHA = {  # voxel data, lines of the header, and the values; None: those that ITK reads
    "little-endian": (VOXELS, "", np.arange(24)),
    "big-endian": (BIG_ENDIAN, "BinaryDataByteOrderMSB = True\n", np.arange(24)),
    "big-endian by its other name": (BIG_ENDIAN, "ElementByteOrderMSB = True\n", None),
    "whole numbers": (np.arange(24, dtype="<i4").tobytes(), "ElementType = MET_INT\n", np.arange(24)),
    "with intensities": (
        VOXELS, "ElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = 1\n", None,
    ),
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
    expected[:3] = 0  # what ITK makes of them
    for read in (read_volume, read_ct):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            np.testing.assert_array_equal(read(path).array_zyx.ravel(), expected)


@pytest.mark.parametrize("start", [2.0**33, 2.0**36, 2.0**45])
def test_compressed_nifti_with_its_voxels_far_away_takes_no_memory(start, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<f", content, 108, start)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    assert "truncated" in refused(path)


@pytest.mark.parametrize("size", [8, -1])
def test_compressed_metaimage_with_a_gap_is_refused_although_itk_hands_out_unset_memory(size, tmp_path):
    line = "CompressedDataSize = {}\n" + f"HeaderSize = {size}\n"
    assert "HeaderSize" in refused(packed_mha(tmp_path / "a.mha", line))


@pytest.mark.parametrize("start", [352, 354, 356, 368])
def test_voxels_are_taken_from_where_a_compressed_nifti_says(start, tmp_path):
    content = bytearray(nifti(tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<f", content, 108, start)
    content[352:352] = bytes(start - 352)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    np.testing.assert_array_equal(read_volume(path).array_zyx.ravel(), np.arange(24))


@pytest.mark.parametrize("flag", ["True", "true", "T", "1"])
def test_compressed_voxels_are_read_however_the_flag_is_spelt(flag, tmp_path):
    volume = read_volume(packed_mha(tmp_path / "a.mha", "CompressedDataSize = {}\n", flag))
    np.testing.assert_array_equal(volume.array_zyx.ravel(), np.arange(24))


@pytest.mark.parametrize("flag", ["True", "T", "1"])
@pytest.mark.parametrize("line", ["", *(f"CompressedDataSize = {n}\n" for n in (0, 20, 10**6, -1, "many"))])
def test_wrong_compressed_size_is_refused_where_itk_hands_out_unset_memory(line, flag, tmp_path):
    message = refused(packed_mha(tmp_path / "a.mha", line, flag))
    assert "CompressedDataSize" in message or "cannot be read" in message
