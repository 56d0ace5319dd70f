"""Which files are one case; no file is read."""

from __future__ import annotations

import errno
import os
import re

import pytest

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.pairs import find_pairs


def made(folder, *names):
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def paired(tmp_path, labels, predictions, **options):
    """Pair files of these names; return case, label and prediction of each."""
    folders = made(tmp_path / "labels", *labels), made(tmp_path / "predictions", *predictions)
    return [
        (pair.case, str(pair.label.relative_to(folders[0])), str(pair.prediction.relative_to(folders[1])))
        for pair in find_pairs(*folders, **options).pairs
    ]


def refused(tmp_path, labels, predictions, **options):
    with pytest.raises(UserError) as caught:
        paired(tmp_path, labels, predictions, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(tmp_path), "TMP")


def test_formats_may_differ_and_other_files_do_not_count(tmp_path):
    labels = ["a.nii.gz", "b.mha", "dataset.json", ".hidden.mha"]
    predictions = ["a.mha", "b.nrrd", "plans.json", ".c.nii.gz", ".d/e.mha"]
    assert paired(tmp_path, labels, predictions) == [("a", "a.nii.gz", "a.mha"), ("b", "b.mha", "b.nrrd")]


@pytest.mark.parametrize(
    ("label", "prediction", "case"),
    [
        ("a.nii.gz", "a_0000.nii.gz", "a"),  # masks are named as nnU-Net's scans
        ("a_0000.mha", "a.mha", "a"),
        ("a.mha", "a_0001.mha", "a"),  # the PET can be the second channel
        ("a_0000.mha", "a_0000.mha", "a_0000"),
        ("MDA-001.nii.gz", "MDA-001__PT.nii.gz", "MDA-001"),  # HECKTOR
        ("p/s/SEG.nii.gz", "p/s/SUV.nii.gz", "p/s"),  # FDG-PET-CT-Lesions
        ("p/s/SEG.nii.gz", "p/s.nii.gz", "p/s"),
        ("p/s/SEG.nii.gz", "p/s/SEG.mha", "p/s"),
        ("SEG.mha", "SEG.nii.gz", "SEG"),  # one case, not a folder of a study
    ],
)
def test_names_of_one_case(label, prediction, case, tmp_path):
    assert paired(tmp_path, [label], [prediction]) == [(case, label, prediction)]


def test_numbered_cases_are_not_channels(tmp_path):
    """Phantoms end in four digits on both sides: 0001 is not the channel of a case, nor that of another number."""
    names = ["phantom_0_0000.nii.gz", "phantom_0_0001.nii.gz"]
    assert [pair[0] for pair in paired(tmp_path, names, names)] == ["phantom_0_0000", "phantom_0_0001"]


def test_another_number_is_another_case(tmp_path):
    message = refused(tmp_path, ["p_0001.mha", "q.mha"], ["p_0002.mha", "q.mha"])
    assert message == (
        "1 of 2 labels have no prediction: p_0001; 1 of 2 predictions have no label: p_0002; expected the same names "
        "on both sides; --skip-unpaired scores the other 1"
    )


def test_images_of_a_study_are_not_labels(tmp_path):
    study = [f"p/s/{name}.nii.gz" for name in ("CT", "CTres", "PET", "SEG", "SUV")]
    assert paired(tmp_path, study, ["p/s/SUV.nii.gz"]) == [("p/s", "p/s/SEG.nii.gz", "p/s/SUV.nii.gz")]


def test_folders_that_all_masks_share_do_not_count_if_nothing_matches_otherwise(tmp_path):
    """`process.py --input` writes below images/automated-petct-lesion-segmentation."""
    masks = ["images/automated-petct-lesion-segmentation/a.mha", "images/automated-petct-lesion-segmentation/b.mha"]
    assert paired(tmp_path, ["a.nii.gz", "b.nii.gz"], masks) == [
        ("a", "a.nii.gz", masks[0]),
        ("b", "b.nii.gz", masks[1]),
    ]


def test_accents_in_two_forms_are_the_same_name(tmp_path):
    """macOS writes ü as u and two dots."""
    (case,) = paired(tmp_path, ["M\u00fcller.mha"], ["Mu\u0308ller.mha"])
    assert case[0] == "M\u00fcller"


def test_two_files_are_a_pair_whatever_their_names_are(tmp_path):
    label, prediction = made(tmp_path, "truth.mha", "mine.nii.gz") / "truth.mha", tmp_path / "mine.nii.gz"
    (pair,) = find_pairs(label, prediction).pairs
    assert (pair.case, pair.label, pair.prediction) == ("truth", label, prediction)


def test_a_folder_in_the_other_one_and_the_output_are_not_searched(tmp_path):
    made(tmp_path, "a.mha", "predictions/a.mha", "predictions/output/old.mha")
    (pair,) = find_pairs(tmp_path, tmp_path / "predictions", output=tmp_path / "predictions" / "output").pairs
    assert (pair.label, pair.prediction) == (tmp_path / "a.mha", tmp_path / "predictions" / "a.mha")


def test_a_loop_of_links_ends(tmp_path):
    made(tmp_path, "labels/a.mha", "predictions/a.mha")
    (tmp_path / "labels" / "loop").symlink_to(tmp_path / "labels")
    assert [pair.case for pair in find_pairs(tmp_path / "labels", tmp_path / "predictions").pairs] == ["a"]


def test_unpaired_cases_are_named_and_counted(tmp_path):
    labels = [f"{name}.mha" for name in "abcdefgh"]
    assert refused(tmp_path, labels, ["h.mha", "x.mha"]) == (
        "7 of 8 labels have no prediction: a, b, c, d, e and 2 more; 1 of 2 predictions have no label: x; expected the "
        "same names on both sides; --skip-unpaired scores the other 1"
    )


def test_unpaired_cases_are_left_out_if_asked(tmp_path):
    folders = made(tmp_path / "labels", "a.mha", "b.mha"), made(tmp_path / "predictions", "b.mha", "c.mha")
    pairing = find_pairs(*folders, skip_unpaired=True)
    assert [pair.case for pair in pairing.pairs] == ["b"]
    assert (pairing.labels_alone, pairing.predictions_alone) == (("a",), ("c",))


def test_nothing_in_common_is_refused_even_then(tmp_path):
    message = refused(tmp_path, ["A.mha"], ["a.mha"], skip_unpaired=True)
    assert message == (
        "1 of 1 labels have no prediction: A; 1 of 1 predictions have no label: a; expected the same names on both "
        "sides (A and a differ in upper and lower case)"
    )


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (
            ["a.mha", "a.nii.gz"],
            ["a.mha"],
            "TMP/labels/a.nii.gz and TMP/labels/a.mha could be the same case; remove one",
        ),
        (["a.mha"], ["a_0000.mha", "a_0001.mha"], "a_0000 and a_0001 could both be the case a; remove one"),
        (["a.NII.GZ"], ["a.mha"], "TMP/labels/a.NII.GZ: the ending of an image must be in lower case; rename the file"),
        (["a.png"], ["a.mha"], "TMP/labels: has no image, expected masks (.mha .nii.gz .nii .nrrd)"),
    ],
)
def test_refused_files(labels, predictions, message, tmp_path):
    assert refused(tmp_path, labels, predictions) == message


def test_folder_of_dicom_files_is_named_as_such(tmp_path):
    made(tmp_path, "predictions/a.mha")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UserError, match="labels: holds DICOM files; convert them first, expected masks"):
        find_pairs(tmp_path / "labels", tmp_path / "predictions")


def test_refused_places(tmp_path):
    made(tmp_path, "labels/a.mha", "b.mha")
    labels, file = tmp_path / "labels", tmp_path / "b.mha"
    for given, reason in [
        ((labels, tmp_path / "none"), f"--predictions {tmp_path / 'none'}: cannot be read (No such file or directory)"),
        ((labels, labels), "is both --labels and --predictions"),
        ((labels, file), f"{labels} is a folder and {file} is a file, expected two folders or two files"),
    ]:
        with pytest.raises(UserError, match=re.escape(reason)):
            find_pairs(*given)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    folders = made(tmp_path / "labels", "a.mha", "closed/b.mha"), made(tmp_path / "predictions", "a.mha")
    listed = os.scandir

    def scan(path):
        if str(path).endswith("closed"):  # root may read every folder
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(UserError, match=r"labels/closed: cannot be read \(Permission denied\)"):
        find_pairs(*folders)
