from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest
from handwritten import mha, nifti, refused

from swfastedit_core.files.formats import SUFFIXES


def zip_file():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("scan.mha", "x")
    return content.getvalue()


def numpy_file():
    content = io.BytesIO()
    np.save(content, np.zeros((3, 4, 5)))
    return content.getvalue()


KINDS = {
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a Git LFS pointer"),
    "web page": (b"\n<!DOCTYPE html><html><body>log in</body></html>", "is a web page"),
    "zip": (zip_file(), "is a zip archive; unpack it first"),
    "DICOM": (bytes(128) + b"DICM" + bytes(200), "is a single DICOM file"),
    "numpy": (numpy_file(), "is a numpy array without a geometry"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_file_that_is_something_else_is_named(kind, suffix, tmp_path):
    content, words = KINDS[kind]
    (tmp_path / f"scan{suffix}").write_bytes(content)
    assert refused(tmp_path / f"scan{suffix}").startswith(words)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_image_compressed_as_a_whole_is_named(suffix, tmp_path):
    (tmp_path / f"scan{suffix}").write_bytes(gzip.compress(mha(tmp_path / "plain.mha").read_bytes()))
    assert refused(tmp_path / f"scan{suffix}") == "is compressed as a whole (gzip); unpack it first"


def test_image_of_another_format_is_named(tmp_path):
    own = {".mha": mha(tmp_path / "a.mha"), ".nii": nifti(tmp_path / "a.nii")}
    for suffix in SUFFIXES:
        for kind, path in own.items():
            if suffix.startswith(kind):
                continue
            (tmp_path / f"scan{suffix}").write_bytes(path.read_bytes())
            assert (
                refused(tmp_path / f"scan{suffix}") == f"is a {kind} file by its first bytes; give its name that ending"
            )


def test_folder_of_dicom_is_named(tmp_path):
    (tmp_path / "series.nii").mkdir()
    assert refused(tmp_path / "series.nii") == "is not a file, expected one volume"
    (tmp_path / "series.nii" / "0001.dcm").write_bytes(bytes(128) + b"DICM")
    assert refused(tmp_path / "series.nii").startswith("is a folder of DICOM files; convert the series")


@pytest.mark.parametrize("name", ["IM0001", "scan.dcm", "scan"])
def test_dicom_is_named_whatever_its_name_is(name, tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / name).write_bytes(bytes(128) + b"DICM" + bytes(200))
    assert refused(tmp_path / "series" / name).startswith("is a single DICOM file")
    assert refused(tmp_path / "series").startswith("is a folder of DICOM files")
    assert refused(tmp_path / "nothing") == "no such file"
