from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from handwritten import VOXELS, image, mha, refused, values

from swfastedit_core import DataWarning, read_volume
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


def test_more_voxel_data_than_promised_is_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="100 bytes of voxel data where the header promises 96; the rest is ignored"):
        assert read_volume(mha(tmp_path / "scan.mha", payload=VOXELS + b"more")).array_zyx.shape == (2, 3, 4)
