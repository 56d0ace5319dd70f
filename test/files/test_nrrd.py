from __future__ import annotations

import pytest
import SimpleITK as sitk
from handwritten import VOXELS, image, refused, values

from swfastedit_core import DataWarning, read_volume


def test_nrrd_without_a_spacing_is_refused_although_itk_takes_one_millimetre(tmp_path):
    fields = "NRRD0004\ntype: float\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"\n" + VOXELS)
    assert refused(tmp_path / "scan.nrrd") == "the header gives no voxel spacing (spacings or space directions)"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"spacings: 2 2 3\n\n" + VOXELS)
    with pytest.warns(DataWarning, match="gives no patient axes"):
        assert read_volume(tmp_path / "scan.nrrd").geometry.spacing_mm == (2.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"sizes: 8 7 6", b"sizes: 1500 1500 500", "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"),
        (b"(1,0,0)", b"(0,0,0)", "the header says space directions: (0,0,0) (0,1,0) (0,0,1), one of length 0"),
        (b"(1,0,0)", b"(1,0.5,0)", "not orthonormal"),
        (b"(1,0,0)", b"(nan,0,0)", "(nan,0,0) (0,1,0) (0,0,1), expected 3 vectors of three finite numbers"),
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
