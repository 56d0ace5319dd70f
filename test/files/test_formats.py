from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from handwritten import mha, refused, values

from swfastedit_core import Geometry, UserError, Volume, read_volume, write_mask, write_volume
from swfastedit_core.files.formats import SUFFIXES


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
