from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import VOXELS, image, mha, packed_mha, refused, values

from swfastedit_core import DataWarning, read_volume
from swfastedit_core.files import voxels
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


def test_a_slice_or_more_behind_the_voxels_means_that_the_header_is_false(tmp_path):
    one_slice = 4 * 3 * 4
    path = mha(tmp_path / "scan.mha", payload=VOXELS + bytes(one_slice - 1))
    with pytest.warns(DataWarning, match="143 bytes of voxel data where the header promises 96"):
        read_volume(path)
    path = mha(tmp_path / "scan.mha", payload=VOXELS + bytes(one_slice))
    assert "a slice or more is left over, so size or number type in the header are false" in refused(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_long_of_eight_bytes_is_refused(compressed, tmp_path):
    """MetaIO's MET_LONG has four bytes; writers on 64-bit Linux took their own long."""
    stored = np.arange(24, dtype="<i8").tobytes()
    if compressed:
        packed = zlib.compress(stored)
        lines = f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementType = MET_LONG\n"
        path = mha(tmp_path / "scan.mha", "CompressedData = False\n", lines, packed)
        path.write_bytes(path.read_bytes().replace(b"ElementType = MET_FLOAT\n", b""))
    else:
        path = mha(tmp_path / "scan.mha", "MET_FLOAT", "MET_LONG", stored)
    assert "192 bytes of voxel data where the header promises 96" in refused(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["i2", "f8", "u4"])
def test_voxels_in_many_blocks_are_converted_like_one(kind, suffix, compressed, tmp_path, monkeypatch):
    monkeypatch.setattr(voxels, "BLOCK", 7)  # no multiple of any number's size
    array = np.arange(6 * 7 * 8).reshape(6, 7, 8).astype(kind)
    sitk.WriteImage(image(array), str(tmp_path / f"scan{suffix}"), compressed)
    np.testing.assert_array_equal(read_volume(tmp_path / f"scan{suffix}").array_zyx, array)


def test_more_voxel_data_than_promised_is_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="100 bytes of voxel data where the header promises 96; the rest is ignored"):
        assert read_volume(mha(tmp_path / "scan.mha", payload=VOXELS + b"more")).array_zyx.shape == (2, 3, 4)


NRRD_HEADER = """NRRD0004
type: float
dimension: 3
sizes: 4 3 2
space: left-posterior-superior
space directions: (2,0,0) (0,2,0) (0,0,3)
encoding: gzip
endian: little

"""


def compressed_scan(path, level):
    """Write a scan compressed at a level of zlib, where 0 stores the data in blocks; return path and voxels."""
    if path.suffix == ".mha":
        return packed_mha(path, "CompressedDataSize = {}\n", level=level), VOXELS
    if path.suffix == ".nrrd":
        path.write_bytes(NRRD_HEADER.encode() + gzip.compress(VOXELS, level))
        return path, VOXELS
    array = values((40, 60, 80))  # ITK notices the checksum of a small file by accident, while it reads the header
    sitk.WriteImage(image(array), str(path.with_name("plain.nii")))
    path.write_bytes(gzip.compress(path.with_name("plain.nii").read_bytes(), level))
    path.with_name("plain.nii").unlink()
    return path, array.tobytes()


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("level", [0, 9])
def test_wrong_checksum_is_refused(level, suffix, tmp_path):
    path, stored = compressed_scan(tmp_path / f"scan{suffix}", level)
    assert read_volume(path).array_zyx.tobytes() == stored
    content = bytearray(path.read_bytes())
    content[-1 if suffix == ".mha" else -8] ^= 1  # the Adler-32 of zlib is last, the CRC-32 of gzip before the length
    path.write_bytes(content)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_flipped_voxel_in_stored_blocks_is_refused(suffix, tmp_path):
    path, stored = compressed_scan(tmp_path / f"scan{suffix}", 0)
    content = bytearray(path.read_bytes())
    content[content.index(stored[-16:])] ^= 1  # no length changes, only the checksum is wrong
    path.write_bytes(content)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("padding", [bytes(512), b"behind the data"])
def test_padding_behind_gzip_is_ignored(padding, tmp_path):
    path, stored = compressed_scan(tmp_path / "scan.nii.gz", 9)
    path.write_bytes(path.read_bytes() + padding)
    assert read_volume(path).array_zyx.tobytes() == stored
