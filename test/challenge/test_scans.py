"""Scans and folders that a command line names: which files count, and the names of their masks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume, write_mask, write_volume
from swfastedit_core.challenge.scans import BadScan, find_scans

MASK = Volume(np.ones((2, 2, 2), np.uint8), Geometry((2, 2, 2), (4.0, 4.0, 4.0)))


def masks(named, output="out"):
    """Return the mask of each scan, both as text, and the reasons of what is bad."""
    cases, bad = find_scans([Path(name) for name in named], Path(output))
    return {str(case.pet): str(case.mask) for case in cases}, [scan.reason for scan in bad]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_masks_of_files_have_their_names():
    put("a/1.mha", "b/2.nii.gz")
    assert masks(["a/1.mha", "b/2.nii.gz"]) == ({"a/1.mha": "out/1.mha", "b/2.nii.gz": "out/2.nii.gz"}, [])


@pytest.mark.parametrize("clash", ["pet.nii.gz", "PET.nii.gz"])  # the same file where case does not count
def test_masks_of_files_with_the_same_name_keep_the_folders_below_the_common_parent(clash):
    put("d/p1/s/pet.nii.gz", f"d/p2/s/{clash}", "d/3.mha")
    found, bad = masks(["d/p1/s/pet.nii.gz", f"d/p2/../p2/s/{clash}", "d/3.mha"])
    assert list(found.values()) == ["out/p1/s/pet.nii.gz", f"out/p2/s/{clash}", "out/3.mha"]
    assert bad == []


def test_masks_of_a_folder_keep_the_path_below_it():
    put("d/b.nii", "d/p10/pet.nii.gz", "d/p2/deep/x.nrrd", "d/a.mha")
    found, _ = masks(["d"])
    assert list(found.items()) == [
        ("d/a.mha", "out/a.mha"),
        ("d/b.nii", "out/b.nii"),
        ("d/p10/pet.nii.gz", "out/p10/pet.nii.gz"),
        ("d/p2/deep/x.nrrd", "out/p2/deep/x.nrrd"),
    ]


def test_masks_of_folders_whose_scans_have_the_same_names_keep_the_folders():
    put("d/p1/pet.nii.gz", "d/p2/pet.nii.gz")
    found, _ = masks(["d/p1", "d/p2/"])
    assert list(found.values()) == ["out/p1/pet.nii.gz", "out/p2/pet.nii.gz"]


def test_scan_that_is_named_twice_counts_once():
    put("d/a.mha")
    Path("link").symlink_to("d")
    assert masks(["d/a.mha", "d", "link/a.mha", "d/../d/a.mha", Path("d/a.mha").absolute()])[0] == {
        "d/a.mha": "out/a.mha"
    }


def test_other_files_hidden_ones_and_masks_of_this_program_are_left_out():
    put("d/notes.txt", "d/.x.mha", "d/.git/y.mha", "d/ct.dcm", "d/._pet.nii.gz", "d/masks/edited.nii.gz", "d/pet.mha")
    write_mask(MASK, "d/lesions.nii.gz")
    write_volume(MASK, "d/label.nii.gz")  # of another program, as far as this one knows
    found, bad = masks(["d"], output="d/masks")
    assert (list(found), bad) == (["d/label.nii.gz", "d/pet.mha"], [])
    assert list(masks(["d/lesions.nii.gz"])[0]) == ["d/lesions.nii.gz"]  # named by the user


def test_upper_case_ending_is_not_passed_over():
    put("d/SCAN.NII.GZ")
    assert list(masks(["d"])[0]) == ["d/SCAN.NII.GZ"]  # its check says what to do


def test_links_to_folders_are_followed_once(here):
    put("store/pet.mha", "d/a.mha")
    Path("d/patient").symlink_to(here / "store")
    Path("d/again").symlink_to(here / "d")
    Path("d/gone.mha").symlink_to("nowhere")
    assert list(masks(["d"])[0]) == ["d/a.mha", "d/gone.mha", "d/patient/pet.mha"]


def test_folder_without_a_scan_is_bad():
    put("d/notes.txt", "d/1.hdr", "dicom/s1/1", "dicom/s1/2")
    for name in ("1", "2"):
        Path("dicom/s1", name).write_bytes(bytes(128) + b"DICM")
    Path("empty").mkdir()
    write_mask(MASK, "done/a.nii.gz")
    put("good/a.mha")
    expected = "expected scans (.mha .nii.gz .nii .nrrd)"
    found, bad = masks(["d", "dicom", "good", "empty", "done"])
    assert list(found) == ["good/a.mha"]
    assert bad == [
        f"d: found 1.hdr, notes.txt, {expected}",
        f"dicom: holds DICOM files, {expected}; convert each series to one volume in SUV first",
        f"empty: found nothing, {expected}",
        f"done: holds only masks of this program, {expected}",
    ]


def test_reason_begins_with_the_scan():
    reasons = ("device: no memory", "d: no image", "d is no image")
    assert [BadScan(Path("d"), reason).reason for reason in reasons] == [
        "d: device: no memory",
        "d: no image",
        "d is no image",
    ]


def test_folder_that_cannot_be_read_is_bad(monkeypatch):
    put("d/a.mha", "d/locked/b.mha")
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read every folder
    assert masks(["d"]) == ({"d/a.mha": "out/a.mha"}, ["d/locked: cannot be read (Permission denied)"])


def test_two_scans_with_the_same_mask_are_refused():
    put("d/p1/pet.mha", "d/p2/pet.mha", "out/p1/x")
    Path("out/p2").symlink_to("p1")
    with pytest.raises(
        UserError, match=r"^d/p1/pet\.mha, d/p2/pet\.mha: would have the same mask, .*/out/p1/pet\.mha;"
    ):
        masks(["d"])


def test_only_the_suv_counts_in_the_layout_of_autopet():
    put(*(f"fdg/p1/s1/{name}.nii.gz" for name in ("CT", "CTres", "PET", "SEG", "SUV")), "fdg/p2/SUVmax.nii.gz")
    found, bad = masks(["fdg"])
    assert (list(found), bad) == (["fdg/p1/s1/SUV.nii.gz", "fdg/p2/SUVmax.nii.gz"], [])


def test_dicom_below_a_folder_is_noticed():
    put("d/p1/pet.mha")
    for number in range(2):
        Path("d/p2/dicom").mkdir(parents=True, exist_ok=True)
        Path(f"d/p2/dicom/{number}.dcm").write_bytes(bytes(128) + b"DICM")
    notices = []
    find_scans([Path("d")], Path("out"), notice=notices.append)
    assert notices == ["d: DICOM files are left out, in 1 folder(s) such as d/p2/dicom"]
