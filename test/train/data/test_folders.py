"""Image files of a folder."""

from __future__ import annotations

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.data.folders import list_folders, list_images


def touch(folder, *names):
    for name in names:
        (folder / name).touch()
    return folder


def test_images_are_listed_without_their_endings_and_other_cases_apart(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.mha", "C.nrrd", "d.NII.GZ", "e.Mha", "._a.nii.gz", "f.txt", "g.NII.gz.txt")
    images = list_images(tmp_path)
    assert images.images == {"a": tmp_path / "a.nii.gz", "b": tmp_path / "b.mha", "C": tmp_path / "C.nrrd"}
    assert images.other_case == {"d": tmp_path / "d.NII.GZ", "e": tmp_path / "e.Mha"}
    assert [images.similar(name) for name in ("c", "D", "E", "f")] == [
        tmp_path / "C.nrrd",
        tmp_path / "d.NII.GZ",
        tmp_path / "e.Mha",
        None,
    ]


def test_missing_file_is_described_with_the_usual_ending_of_its_folder(tmp_path):
    touch(tmp_path, "a.mha", "B.mha")
    images = list_images(tmp_path)
    assert images.describe_missing("x") == f"expected {tmp_path}/x.mha"
    assert images.describe_missing("b") == (
        f"expected {tmp_path}/b.mha; B.mha differs from it in upper and lower case, rename it"
    )
    assert list_images(tmp_path / "none").describe_missing("x") == f"expected {tmp_path}/none/x.nii.gz"


def test_same_name_with_two_endings_is_refused(tmp_path):
    touch(tmp_path, "a.mha", "a.nii")
    with pytest.raises(UserError, match=r"a\.nii and a\.mha could be the same scan; remove one"):
        list_images(tmp_path)


def test_hidden_folders_are_left_out(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    touch(tmp_path, "file")
    assert list_folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]
