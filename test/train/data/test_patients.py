"""Patients by the names of cases."""

from __future__ import annotations

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.data.findings import Finding, table
from swfastedit_core.train.data.patients import parse_pattern, patient_by, shared_stems


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["sub-01_ses-2", "sub-01_ses-1", "sub-02_ses-1"], [("sub-01_ses-1", "sub-01_ses-2")]),
        (["sub-01_ses-1_pet", "sub-01_ses-2_pet", "sub-01_ses-3_pet"], [("sub-01_ses-1_pet", "sub-01_ses-2_pet")]),
        (["P7_baseline", "P7_followup", "P8_pre", "P8_post"], [("P7_baseline", "P7_followup"), ("P8_post", "P8_pre")]),
        (["P7_20190131", "P7_20200131"], [("P7_20190131", "P7_20200131")]),
        (["P7_2019-01-31", "P7_31-01-2020"], [("P7_2019-01-31", "P7_31-01-2020")]),
        (["P07_1", "P07_2", "P08_1"], [("P07_1", "P07_2")]),
        (["01-a", "01-b", "02-a"], [("01-a", "01-b")]),
        (["A_visit1", "A_visit2", "B_visit1"], [("A_visit1", "A_visit2")]),
    ],
)
def test_names_of_one_patient_are_found(names, pairs):
    assert shared_stems(names) == pairs


@pytest.mark.parametrize(
    "names",
    [
        ["STS_002", "STS_004", "STS_015"],
        ["CHUM-001", "CHUM-002", "MDA-001", "MDA-002"],
        [f"phantom_33_{case:04d}" for case in range(9)],
        [f"centre{centre}_{case:02d}" for centre in range(3) for case in range(9)],
        ["PETCT_0011f3deaf", "PETCT_01140d52d8"],
        ["pet_scan_1", "pet_scan_2"],
        ["sub-01_ses-1", "sub-02_ses-1"],
        ["sub-01_ses-1", "sub-01_ses-1"],  # one patient with two scans
        ["P1", "P12", "vs-1"],
        ["P07_1"],
    ],
)
def test_names_of_different_patients_are_not(names):
    assert shared_stems(names) == []


def test_table_remarks_on_them_once_for_each_data_set():
    names = ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-02_ses-2")
    findings = [Finding(name, "images:x", name, problem="bad") for name in names]
    assert table(findings).splitlines()[:4] == [
        "images:x",
        "  cases         4 of 4 patients",
        "  not usable    4",
        "  remark        sub-01_ses-1 and sub-01_ses-2 (and 1 more such names) count as different patients; if they "
        "are scans of one patient, group them with --patient REGEX",
    ]
    grouped = [Finding(name, "images:x", name[:6], problem="bad") for name in names]
    assert "count as different patients" not in table(grouped)


def test_pattern_finds_the_patient():
    assert patient_by("(sub-[0-9]+)_", "centre1_sub-07_ses-2") == "sub-07"
    with pytest.raises(UserError, match=r"^--patient '\(sub\)': finds no patient in the name of case P1$"):
        patient_by("(sub)", "P1")
    with pytest.raises(UserError, match="finds no patient in the name of case P1"):
        patient_by("P1(.*)", "P1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sub-[0-9]+", "has 0 capture groups, expected one around the patient's part of the name, such as"),
        ("(a)(b)", "has 2 capture groups"),
        ("(a", "is not a regular expression (missing ), unterminated subpattern at position 0)"),
    ],
)
def test_pattern_without_exactly_one_group_is_refused(text, message):
    with pytest.raises(UserError) as caught:
        parse_pattern(text)
    assert str(caught.value).startswith(f"--patient {text!r}: ")
    assert message in str(caught.value)
    assert parse_pattern("(a)(?:b)") == "(a)(?:b)"
