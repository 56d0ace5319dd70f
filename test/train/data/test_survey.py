from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from places import CROPS, real

from swfastedit_core import Geometry, UserError, Volume, write_volume
from swfastedit_core.system.isolated import map_isolated
from swfastedit_core.train.data import survey as room
from swfastedit_core.train.data.duplicates import digest_of, remark_duplicates
from swfastedit_core.train.data.findings import Finding, table, usable
from swfastedit_core.train.data.label_values import remark_rare_values
from swfastedit_core.train.data.sources import Source, find_sources

GRID = Geometry((5, 4, 3), (40.0, 50.0, 40.0))  # voxels of 80 ml, as large as a body
SUV = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 10
LABEL = np.zeros((3, 4, 5), np.uint8)
LABEL[0, 0, 0], LABEL[0, 1, 1], LABEL[1, 2, 2], LABEL[2, 3, 3:] = 1, 1, 3, 1  # edge, corner, corner


def case_of(folder, name="a", *, suv=SUV, label=LABEL, **more):
    """Write a pair of files; return their source."""
    pet, mask = folder / "imagesTr" / f"{name}.mha", folder / "labelsTr" / f"{name}.mha"
    write_volume(Volume(suv, GRID), pet)
    write_volume(Volume(label, GRID), mask)
    return Source(name, f"patient of {name}", "images:somewhere", pet=pet, label=mask, **more)


def examine(source, *, spacing_mm=(4.0, 4.0, 4.0), **how):
    return room.examine(source, spacing_mm=spacing_mm, **how)


def survey(sources, *, spacing_mm=(4.0, 4.0, 4.0), **how):
    return room.survey(sources, spacing_mm=spacing_mm, **how)


def in_this_process(work, items, *, workers):
    return ((place, work(item)) for place, item in enumerate(items))


@pytest.fixture
def read(monkeypatch):
    """Look at cases in this process; return the list of those that are read."""
    cases, before = [], room.examine

    def counted(source, **how):
        cases.append(source.case)
        return before(source, **how)

    monkeypatch.setattr(room, "map_isolated", in_this_process)
    monkeypatch.setattr(room, "examine", counted)
    return cases


def test_finding_describes_a_case(tmp_path):
    finding = examine(case_of(tmp_path), with_ct=False)
    assert finding == Finding(
        *("a", "images:somewhere", "patient of a"),
        size_xyz=(5, 4, 3),
        spacing_mm=(40.0, 50.0, 40.0),
        suv_max=pytest.approx(5.9),
        lesions=3,  # voxels that share an edge are one lesion, voxels that share a corner are two
        lesion_voxels=5,
        lesion_ml=pytest.approx(400.0),
        label_values=(1, 3),
        content=digest_of(Volume(SUV, GRID)),
    )


def test_values_that_are_no_lesion_are_not_counted(tmp_path):
    finding = examine(case_of(tmp_path, lesion_labels=(3, 4, 7)), with_ct=False)
    assert (finding.lesions, finding.lesion_voxels, finding.label_values) == (1, 1, (1, 3))
    assert finding.absent_labels == (4, 7)
    assert finding.problem == ""


def test_case_without_lesions_is_no_problem(tmp_path):
    finding = examine(case_of(tmp_path, label=np.zeros_like(LABEL)), with_ct=False)
    assert (finding.lesions, finding.lesion_voxels, finding.lesion_ml) == (0, 0, 0.0)
    assert (finding.label_values, finding.problem, finding.remark) == ((), "", "")


def test_scan_that_is_hardly_in_suv_is_remarked_upon(tmp_path):
    finding = examine(case_of(tmp_path, suv=SUV * 1000), with_ct=False)
    assert "maximum 5,900 is hardly an SUV" in finding.remark
    assert finding.problem == ""


@pytest.mark.parametrize(
    ("low", "problem"),
    [
        (-499.0, ""),
        (-501.0, "minimum -501 looks like a CT in HU, expected a PET in SUV"),
        (-3024.0, "minimum -3,024 looks like a CT in HU, expected a PET in SUV"),
        (-5000.0, ""),  # as in a PET in Bq/ml
    ],
)
def test_scan_with_the_values_of_a_ct_is_a_problem(low, problem, tmp_path):
    suv = SUV.copy()
    suv[0, 0, 0] = low
    finding = examine(case_of(tmp_path, suv=suv), with_ct=False)
    assert finding.problem == (f"{tmp_path}/imagesTr/a.mha: {problem}" if problem else "")
    assert bool(finding.remark) != bool(problem)  # the other ones are no SUV either


def test_label_that_covers_most_of_the_volume_is_remarked_upon(tmp_path):
    label = np.zeros(60, np.uint8)
    label[:30] = 1
    assert examine(case_of(tmp_path, label=label.reshape(3, 4, 5)), with_ct=False).remark == ""
    label[30:33] = 2
    finding = examine(case_of(tmp_path, label=label.reshape(3, 4, 5)), with_ct=False)
    assert finding.remark.startswith("the lesions of the label cover 55 % of the volume; ")
    finding = examine(case_of(tmp_path, label=label.reshape(3, 4, 5), lesion_labels=(2,)), with_ct=False)
    assert finding.remark == ""  # three voxels are lesion


def test_label_with_many_values_is_remarked_upon_and_one_with_negative_values_is_a_problem(tmp_path):
    label = np.zeros(60, np.int16)
    label[:25] = np.arange(25)
    finding = examine(case_of(tmp_path, label=label.reshape(3, 4, 5)), with_ct=False)
    assert finding.remark.startswith("25 different values in the label, from 0 to 24; ")
    label[30] = -1000
    finding = examine(case_of(tmp_path, label=label.reshape(3, 4, 5)), with_ct=False)
    assert "labelsTr/a.mha: the label has values from -1,000 to 24, expected a mask" in finding.problem
    assert finding.remark == ""


def with_file(name, content):
    """Return what puts other bytes in the place of the PET's or the label's file."""

    def damage(source):
        path = getattr(source, name)
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
        return source

    return damage


def without_file(source):
    source.pet.unlink()
    return source


def on_another_grid(source):
    write_volume(Volume(LABEL, Geometry((5, 4, 3), (4.0, 5.0, 2.5))), source.label)
    return source


def with_halves(source):
    write_volume(Volume(LABEL * np.float32(0.5), GRID), source.label)
    return source


def constant(source):
    write_volume(Volume(np.full((3, 4, 5), 2.5, np.float32), GRID), source.pet)
    return source


BAD = {
    "label-missing": (lambda source: replace(source, label=None), "the case has no label"),
    "pet-empty": (with_file("pet", b""), "a.mha: the file is empty"),
    "pet-truncated": (with_file("pet", -20), "truncated"),
    "pet-no-image": (with_file("pet", b"\n" * 5000), "the header cannot be read"),
    "pet-gone": (without_file, "a.mha: no such file"),
    "pet-constant": (constant, "every voxel is 2.5, there is no image in it"),
    "label-empty-file": (with_file("label", b""), "a.mha: the file is empty"),
    "label-truncated": (with_file("label", -5), "truncated"),
    "label-elsewhere": (on_another_grid, "the label's grid, 5×4×3 voxels of 4×5×2.5 mm"),
    "label-fractions": (with_halves, "not integers, such as 0.5"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_case_is_named_and_not_raised(bad, tmp_path):
    damage, reason = BAD[bad]
    finding = examine(damage(case_of(tmp_path)), with_ct=False)
    assert reason in finding.problem
    assert "\n" not in finding.problem
    assert (finding.case, finding.remark) == ("a", "")


def test_missing_ct_is_a_problem_only_where_ct_is_wanted(tmp_path):
    source = case_of(tmp_path)
    assert examine(source, with_ct=True).problem == "the case has no CT"
    assert examine(source, with_ct=False).problem == ""


@pytest.mark.long
def test_scan_that_is_too_large_at_the_networks_spacing_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "GRID", Geometry((5, 4, 3), (500.0, 500.0, 500.0)))
    cache, source = tmp_path / "survey.json", case_of(tmp_path)
    for spacing_mm, problem in ((100.0, False), (1.0, True), (100.0, False)):
        finding = survey([source], spacing_mm=(spacing_mm,) * 3, with_ct=False, workers=1, cache=cache)[0]
        assert ("would have 3.01e+09 voxels at the network's spacing of 1" in finding.problem) == problem
        assert (finding.problem != "") == problem


def test_what_no_one_thought_of_is_a_problem_too(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(room, "read_source", broken)
    finding = examine(case_of(tmp_path), with_ct=False)
    assert finding.problem == "cannot be read (RuntimeError: first line second line)"


@pytest.mark.long
def test_cases_are_looked_at_in_processes_and_phantoms_are_not(tmp_path):
    sources = [
        case_of(tmp_path, "b"),
        Source("phantom_0_0000", "phantom_0_0000", "phantom:1", phantom_seed=0),
        with_file("pet", b"")(case_of(tmp_path, "a")),
        case_of(tmp_path, "c", label=np.zeros_like(LABEL)),
    ]
    lines = []
    begin = time.perf_counter()
    findings = survey(sources, with_ct=False, workers=2, progress=lines.append)
    assert time.perf_counter() - begin < 60
    assert [finding.case for finding in findings] == ["b", "phantom_0_0000", "a", "c"]
    assert [finding.lesion_voxels for finding in findings] == [5, 0, 0, 0]
    assert [finding.problem.partition(": ")[2] for finding in findings] == ["", "", "the file is empty", ""]
    assert findings[1] == Finding("phantom_0_0000", "phantom:1", "phantom_0_0000")
    assert sorted(line.split(":")[0] for line in lines) == ["surveyed a", "surveyed b", "surveyed c"]
    assert "surveyed b: 400.0 ml of lesions" in lines


def test_phantom_has_no_ct():
    source = Source("p", "p", "phantom:1", phantom_seed=0)
    assert survey([source], with_ct=True, workers=1)[0].problem == "a phantom has no CT"


def square_or_die(number):
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.long
def test_killed_process_takes_no_other_with_it():
    assert sorted(map_isolated(square_or_die, [3, -1, 4, -1, 5], workers=2)) == [
        (0, 9),
        (1, None),
        (2, 16),
        (3, None),
        (4, 25),
    ]
    assert list(map_isolated(square_or_die, [], workers=2)) == []


def die_at_b(source, *, examined=room.examine, **how):
    return square_or_die(-1) if source.case == "b" else examined(source, **how)


@pytest.mark.long
def test_case_that_kills_its_process_is_named_and_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "examine", die_at_b)
    sources = [case_of(tmp_path, name) for name in "abc"]
    cache = tmp_path / "survey.json"
    findings = survey(sources, with_ct=False, workers=1, cache=cache)
    assert [finding.problem.partition(";")[0] for finding in findings] == [
        "",
        "the process that read it was killed",
        "",
    ]
    monkeypatch.undo()
    assert [finding.problem for finding in survey(sources, with_ct=False, workers=1, cache=cache)] == ["", "", ""]


def test_second_survey_reads_only_what_changed_or_was_bad(tmp_path, read):
    cache = tmp_path / "run" / "survey.json"
    sources = [case_of(tmp_path, name) for name in "abcd"]
    sources[3].label.write_bytes(b"")
    first = survey(sources, with_ct=False, workers=1, cache=cache)
    assert read == ["a", "b", "c", "d"]
    read.clear()
    assert survey(sources, with_ct=False, workers=1, cache=cache) == first
    assert read == ["d"]
    read.clear()
    time.sleep(0.01)
    case_of(tmp_path, "b", label=np.zeros_like(LABEL))
    case_of(tmp_path, "d")
    second = survey(sources, with_ct=False, workers=1, cache=cache)
    assert read == ["b", "d"]
    assert [finding.lesion_voxels for finding in second] == [5, 0, 5, 5]
    assert [finding.problem for finding in second] == [""] * 4


def test_other_questions_are_not_answered_from_the_cache(tmp_path, read):
    cache, source = tmp_path / "survey.json", case_of(tmp_path)
    survey([source], with_ct=False, workers=1, cache=cache)
    three = survey([replace(source, lesion_labels=(3,))], with_ct=False, workers=1, cache=cache)
    assert three[0].lesion_voxels == 1
    assert survey([source], with_ct=True, workers=1, cache=cache)[0].problem == "the case has no CT"
    assert len(read) == 3
    assert survey([source], with_ct=False, workers=1, cache=cache)[0].lesion_voxels == 5
    assert len(read) == 3
    survey([replace(source, form="sform")], with_ct=False, workers=1, cache=cache)
    survey([replace(source, patient="p")], with_ct=False, workers=1, cache=cache)
    assert len(read) == 5


def test_changed_ct_is_read_again_where_ct_is_wanted(tmp_path, read):
    cache, source = tmp_path / "survey.json", replace(case_of(tmp_path), ct=tmp_path / "ct.mha")
    air = np.full((3, 4, 5), -1000, np.float32)
    write_volume(Volume(air, GRID), source.ct)
    for with_ct in (True, False):
        assert survey([source], with_ct=with_ct, workers=1, cache=cache)[0].problem == ""
    write_volume(Volume(air, Geometry((5, 4, 3), (4.0, 5.0, 2.0), (0.0, 0.0, 999.0))), source.ct)
    assert survey([source], with_ct=False, workers=1, cache=cache)[0].problem == ""
    assert len(read) == 2
    assert "without overlap" in survey([source], with_ct=True, workers=1, cache=cache)[0].problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"case": "a", "colour": 3}}', b"\xff"])
def test_damaged_cache_is_made_anew(content, tmp_path, read):
    cache, source = tmp_path / "survey.json", case_of(tmp_path)
    cache.write_bytes(content)
    for _ in range(2):
        assert survey([source], with_ct=False, workers=1, cache=cache)[0].lesion_voxels == 5
    assert read == ["a"]


def test_what_was_read_is_kept_when_a_survey_is_interrupted(tmp_path, read, monkeypatch):
    cache, sources = tmp_path / "survey.json", [case_of(tmp_path, name) for name in "ab"]

    def interrupted(work, items, *, workers):
        yield 0, work(items[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "map_isolated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        survey(sources, with_ct=False, workers=1, cache=cache)
    monkeypatch.setattr(room, "map_isolated", in_this_process)
    survey(sources, with_ct=False, workers=1, cache=cache)
    assert read == ["a", "b"]


def test_cache_that_cannot_be_written_is_refused(tmp_path, read):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/survey\.json: the findings cannot be written there"):
        survey([case_of(tmp_path)], with_ct=False, workers=1, cache=tmp_path / "file" / "survey.json")


def found(case, *, group="images:x", size=(5, 4, 3), spacing=(4.0, 5.0, 2.0), ml=0.0, **more):
    lesions = {"lesions": 1, "lesion_voxels": 9, "lesion_ml": ml, "label_values": (1,)} if ml else {}
    return Finding(case, group, case[0], size_xyz=size, spacing_mm=spacing, **({"suv_max": 3.0} | lesions | more))


def test_table_tells_of_each_group_and_then_of_each_problem():
    findings = [
        found("a1", ml=3.0, absent_labels=(7,)),
        found("a2", size=(10, 4, 3), ml=1.25, suv_max=9.0, label_values=(1, 2), absent_labels=(2, 7)),
        found("b1", spacing=(2.03642, 2.03642, 3.0), absent_labels=(7,)),
        found("c1", size=(400, 400, 326), ml=100.0, problem="the case has no CT"),
        Finding("phantom_0_0000", "phantom:1", "phantom_0_0000"),
        found("d1", group="images:y", remark="maximum 5,900 is hardly an SUV"),
    ]
    assert table(findings).splitlines() == [
        "images:x",
        "  cases         4 of 3 patients",
        "  not usable    1",
        "  lesion-free   1",
        "  voxels        5×4×3 to 10×4×3",
        "  spacing mm    4×5×2 (2), 2.036×2.036×3 (1)",
        "  SUVmax        median 3, 3 to 9",
        "  label values  1, 2",
        "  lesion ml     median 2.125, 1.25 to 3, where there are lesions",
        "  remark        lesion values that no label has: 7",
        "phantom:1",
        "  cases         1 of 1 patients",
        "  phantoms      generated during training, not surveyed",
        "images:y",
        "  cases         1 of 1 patients",
        "  lesion-free   1",
        "  voxels        5×4×3",
        "  spacing mm    4×5×2 (1)",
        "  SUVmax        median 3, 3 to 3",
        "  label values  only 0",
        "problem: c1 in images:x: the case has no CT",
        "remark: d1 in images:y: maximum 5,900 is hardly an SUV",
    ]


def test_table_is_short_about_many_spacings_and_remarks():
    findings = [found(f"a{case}", spacing=(1.0, 1.0, 1.0 + case), remark="odd") for case in range(25)]
    lines = table(findings).splitlines()
    assert lines[4] == "  spacing mm    1×1×1 (1), 1×1×2 (1), 1×1×3 (1), 1×1×4 (1), 1×1×5 (1), …"
    assert sum(line.startswith("remark: a") for line in lines) == 20
    assert lines[-1] == "remark: 5 more cases with such remarks"


def test_bad_cases_are_refused_or_skipped_by_choice(tmp_path):
    sources = [Source(name, name, "images:x") for name in "abcdef"]
    findings = [found("a"), *(found(name, problem=f"{name} is bad") for name in "bcde"), found("f")]
    with pytest.raises(UserError) as caught:
        usable(sources, findings, skip=False)
    assert str(caught.value) == (
        "4 of 6 cases cannot be used; fix them, or leave them out with --skip-bad: "
        "b: b is bad; c: c is bad; d: d is bad; and 1 more"
    )
    assert [source.case for source in usable(sources, findings, skip=True)] == ["a", "f"]
    assert usable(sources[:1], findings[:1], skip=False) == sources[:1]
    with pytest.raises(UserError, match="none of 1 cases can be used: b: b is bad"):
        usable(sources[1:2], findings[1:2], skip=True)
    with pytest.raises(UserError, match="no case: the data sets are empty"):
        usable([], [], skip=True)


@real(CROPS)
def test_real_crops_have_no_problem():
    sources = find_sources(f"images:{CROPS}", seed=0)
    findings = [examine(source, with_ct=source.ct is not None) for source in sources]
    findings = remark_duplicates(remark_rare_values(findings))
    assert [finding.problem for finding in findings] == [""] * 28
    assert [finding.remark for finding in findings] == [""] * 28
    assert "remark" not in table(findings)
    assert all(finding.lesions and finding.label_values == (1,) for finding in findings)
    assert all(finding.spacing_mm[2] == pytest.approx(3.27, abs=0.01) for finding in findings)
