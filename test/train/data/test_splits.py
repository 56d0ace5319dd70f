from __future__ import annotations

import json

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.data.splits import (
    fold_of,
    limit_cases,
    parse_fold,
    split,
    split_off_test_set,
    write_split,
)


def scans(*names):
    """Make sources of ``patient/study`` names; a name without study is a case that is called like its patient."""
    return [Source(name, name.partition("/")[0], "images:somewhere") for name in names]


def names(sources):
    return [source.case for source in sources]


def file_with(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("patient", "of_five", "of_two"),
    [
        # From `printf STS_002 | sha256sum`: as 16 = 1 modulo 5, the hash modulo 5 is the sum of its hexadecimal digits
        # modulo 5, and modulo 2 its last digit is enough.
        ("STS_002", 475 % 5, 0xD % 2),
        ("STS_004", 497 % 5, 0xE % 2),
        ("PETCT_0011f3deaf", 478 % 5, 0x0 % 2),
        ("CHUM-001", 501 % 5, 0x8 % 2),
        ("Müller", 506 % 5, 0x2 % 2),
    ],
)
def test_fold_is_the_names_sha256_modulo_the_number_of_folds(patient, of_five, of_two):
    assert (fold_of(patient, 5), fold_of(patient, 2)) == (of_five, of_two)


def test_two_scans_of_a_patient_are_never_parted():
    cases = scans(*(f"P{patient}/{study}" for patient in range(20) for study in ("first", "second")))
    for fold in range(5):
        learn, held_out = split(cases, fold=(fold, 5))
        assert len(learn) + len(held_out) == 40
        assert {source.patient for source in learn}.isdisjoint(source.patient for source in held_out)
        assert held_out == [source for source in cases if fold_of(source.patient, 5) == fold]


def test_every_patient_is_held_out_in_exactly_one_fold():
    cases = scans(*(f"P{patient}" for patient in range(20)))
    held_out = [source.case for fold in range(5) for source in split(cases, fold=(fold, 5))[1]]
    assert sorted(held_out) == sorted(names(cases))


def test_nobody_changes_sides_when_cases_are_added():
    few = scans(*(f"P{patient}" for patient in range(20)))
    more = scans("A0", *(f"P{patient}" for patient in range(40)), "P3/second")
    for fold in range(5):
        learn, held_out = split(few, fold=(fold, 5))
        more_learn, more_held_out = split(more, fold=(fold, 5))
        assert set(names(learn)) <= set(names(more_learn))
        assert set(names(held_out)) <= set(names(more_held_out))
        assert len(more_learn) + len(more_held_out) == 42


def test_fold_holds_out_phantoms_only_where_there_is_nobody_else():
    cases = scans(*(f"P{patient}" for patient in range(20)))
    phantoms = [Source(f"phantom{i}", f"phantom{i}", "phantom:20", phantom_seed=i) for i in range(20)]
    learn, held_out = split([*phantoms, *cases], fold=(0, 5))
    assert held_out == split(cases, fold=(0, 5))[1]
    assert learn[:20] == phantoms
    assert held_out
    assert split(phantoms, fold=(0, 5))[1] == [source for source in phantoms if fold_of(source.patient, 5) == 0]


def test_without_fold_and_file_all_is_learned_from():
    cases = scans("A", "B")
    assert split(cases) == (cases, [])


@pytest.mark.parametrize(("text", "fold"), [("0/5", (0, 5)), ("4/5", (4, 5)), ("1/2", (1, 2))])
def test_fold_is_read(text, fold):
    assert parse_fold(text) == fold


@pytest.mark.parametrize("text", ["5/5", "-1/5", "0/1", "0/0", "1", "1/5/5", "a/5", "1 / 5", "", "１/５"])
def test_other_than_a_fold_is_refused(text):
    with pytest.raises(UserError, match=r"expected K/N with N from 2 on and K from 0 to N-1"):
        parse_fold(text)


def test_fold_that_holds_out_nobody_is_refused():
    cases = scans("STS_002")
    number = fold_of("STS_002", 5)
    with pytest.raises(UserError, match=rf"fold {number}/5: the training set is empty, found 1 patients"):
        split(cases, fold=(number, 5))
    with pytest.raises(UserError, match=r"the validation set is empty, found 1 patients"):
        split(cases, fold=((number + 1) % 5, 5))


def test_written_split_is_read_again(tmp_path):
    cases = scans("A/1", "A/2", "B/1", "C/1")
    path = tmp_path / "new folder" / "split.json"
    write_split(path, [cases[0], cases[1], cases[3]], [cases[2]])
    assert json.loads(path.read_text()) == {"train": ["A", "C"], "validation": ["B"]}
    learn, held_out = split(list(reversed(cases)), split_file=path)
    assert (names(learn), names(held_out)) == (["C/1", "A/2", "A/1"], ["B/1"])
    assert [file.name for file in path.parent.iterdir()] == ["split.json"]


def test_split_file_says_nothing_of_phantoms_where_there_are_others(tmp_path):
    cases, path = scans("A", "B"), tmp_path / "split.json"
    phantoms = [Source(f"phantom{i}", f"phantom{i}", "phantom:3", phantom_seed=i) for i in range(3)]
    write_split(path, [cases[0], *phantoms], [cases[1]])
    assert json.loads(path.read_text()) == {"train": ["A"], "validation": ["B"]}
    assert split([*cases, *phantoms[:2]], split_file=path) == ([cases[0], *phantoms[:2]], [cases[1]])
    write_split(path, phantoms[:2], phantoms[2:])
    assert split(phantoms, split_file=path) == (phantoms[:2], phantoms[2:])


def test_entries_may_name_cases(tmp_path):
    path = file_with(tmp_path / "split.json", {"train": ["A/1", "A/2"], "validation": ["B/1", "C"]})
    learn, held_out = split(scans("A/1", "A/2", "B/1", "C/1"), split_file=path)
    assert (names(learn), names(held_out)) == (["A/1", "A/2"], ["B/1", "C/1"])


def test_fold_of_nnunets_splits_is_taken(tmp_path):
    folds = [{"train": ["B"], "val": ["A"]}, {"train": ["A"], "val": ["B"]}]
    path = file_with(tmp_path / "splits_final.json", folds)
    assert [names(side) for side in split(scans("A", "B"), fold=(0, 2), split_file=path)] == [["B"], ["A"]]
    assert [names(side) for side in split(scans("A", "B"), fold=(1, 2), split_file=path)] == [["A"], ["B"]]


@pytest.mark.parametrize(
    ("content", "fold", "message"),
    [
        ({"train": ["A", "B"], "validation": ["B"]}, None, "patient B is in both sets"),
        ({"train": ["A", "B/1"], "validation": ["B/2"]}, None, "patient B is in both sets"),
        ({"train": ["A"], "validation": ["B", "D"]}, None, "unknown patient or case: D"),
        ({"train": ["A"], "validation": ["B/1"]}, None, "case B/2 is in neither set"),
        ({"train": ["A", "B"], "validation": []}, None, "the validation set is empty, found 2 patients"),
        ({"train": [], "validation": ["A", "B"]}, None, "the training set is empty, found 2 patients"),
        ({"train": ["A"]}, None, "expected {"),
        ({"train": "A", "validation": "B"}, None, "expected {"),
        ({"train": [1], "validation": [2]}, None, "expected {"),
        ("A", None, "expected {"),
        ([{"train": ["A"], "val": ["B"]}], None, "has 1 folds; use --fold K/1 (found: no fold)"),
        ([{"train": ["A"], "val": ["B"]}], (0, 5), "has 1 folds; use --fold K/1 (found: fold 0/5)"),
        (["A", "B"], (0, 2), "expected {"),
        ({"train": ["A"], "validation": ["B"]}, (0, 2), "is a single split, and fold 0/2 was asked for"),
    ],
)
def test_split_that_does_not_fit_is_refused(content, fold, message, tmp_path):
    path = file_with(tmp_path / "split.json", content)
    with pytest.raises(UserError) as caught:
        split(scans("A/1", "B/1", "B/2"), fold=fold, split_file=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        split(scans("A"), split_file=tmp_path / "missing.json")
    (tmp_path / "split.json").write_text("train: A")
    with pytest.raises(UserError, match="is not valid JSON"):
        split(scans("A"), split_file=tmp_path / "split.json")


def test_split_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_split(tmp_path / "file" / "split.json", scans("A"), scans("B"))


def of_data_set(group, *cases, in_test_set=False):
    return [Source(case, case, group, in_test_set=in_test_set) for case in cases]


def test_limit_keeps_the_first_cases_of_each_data_set():
    sources = [*of_data_set("images:x", "a", "b", "c"), *of_data_set("images:y", "a")]
    assert [(one.group, one.case) for one in limit_cases(sources, 2)] == [
        ("images:x", "a"),
        ("images:x", "b"),
        ("images:y", "a"),
    ]
    assert limit_cases(sources, None) == sources


def test_test_set_is_held_out_and_shares_no_patient_with_the_training_set():
    training = of_data_set("images:x", "a", "b")
    held_out = of_data_set("images:x", "c", in_test_set=True)
    assert split_off_test_set([*training, *held_out]) == (training, held_out)
    with pytest.raises(UserError, match="no data set of the layout images has a folder imagesTs"):
        split_off_test_set(training)
    with pytest.raises(UserError, match="imagesTs: patient b is in imagesTr, too"):
        split_off_test_set([*training, *of_data_set("images:x", "b", in_test_set=True)])
