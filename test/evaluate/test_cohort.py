"""Many pairs at a time, in this process and in others."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_masks import mask, write

from swfastedit_core.evaluate import cohort
from swfastedit_core.evaluate.cohort import CaseResult, Scoring, count_workers, score_cases, score_pair
from swfastedit_core.evaluate.pairs import Pair

BOX = (slice(0, 2), slice(0, 2), slice(0, 2))


@pytest.fixture
def pairs(tmp_path):
    label, empty = write(mask(BOX), tmp_path / "label.mha"), write(mask(), tmp_path / "empty.mha")
    damaged = tmp_path / "damaged.mha"
    damaged.write_bytes(label.read_bytes()[:-10])
    return [Pair("good", label, label), Pair("damaged", label, damaged), Pair("missed", label, empty)]


@pytest.mark.long
def test_processes_give_the_results_of_this_process_in_the_same_order(pairs):
    seen = []
    here = score_cases(pairs, Scoring(), workers=0, progress=seen.append)
    assert [result.case for result in seen] == ["good", "damaged", "missed"]
    assert [(one.scores.dice if one.scores else None) for one in here] == [1, None, 0]
    assert "damaged.mha" in here[1].problem
    others = score_cases(pairs, Scoring(), workers=2, progress=seen.append)
    assert list(map(repr, others)) == list(map(repr, here))  # NaN is not equal to itself
    assert len(seen) == 6


def test_a_process_that_is_killed_is_the_problem_of_its_case(pairs, monkeypatch):
    monkeypatch.setattr(
        "swfastedit_core.system.isolated.map_isolated",
        lambda work, items, *, workers: iter([(1, None), (0, work(items[0])), (2, work(items[2]))]),
    )
    results = score_cases(pairs, Scoring(), workers=2, progress=lambda _: None)
    assert results[1] == CaseResult(case="damaged", problem=cohort.KILLED)
    assert [results[0].scores.dice, results[2].scores.dice] == [1, 0]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MemoryError(), cohort.OUT_OF_MEMORY),
        (ZeroDivisionError("float\ndivision"), "cannot be scored (ZeroDivisionError: float division)"),
    ],
)
def test_errors_of_libraries_are_problems_of_the_case(error, problem, pairs, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cohort, "score_mask", fail)
    (result,) = score_cases(pairs[:1], Scoring(), workers=0, progress=lambda _: None)
    assert (result.problem, result.scores) == (problem, None)


def scored(tmp_path, label, prediction, *, scoring=None, **grid):
    """Write and score a pair; `grid` is the prediction's."""
    pair = Pair("a", write(label, tmp_path / "label.mha"), write(prediction, tmp_path / "p.mha", **grid))
    return score_pair(pair, scoring or Scoring())


def test_values_that_are_lesions_hold_for_the_prediction_if_it_has_them(tmp_path):
    label, prediction = mask(BOX, value=3) + mask((3, 5, 7), value=2), mask(BOX)
    assert scored(tmp_path, label, prediction).scores.label_ml == pytest.approx(0.09)
    both = scored(tmp_path, label, prediction, scoring=Scoring(lesion_labels=(3,), prediction_labels=(3,)))
    assert (both.scores.label_ml, both.scores.prediction_ml) == (pytest.approx(0.08), 0)
    assert both.remark == f"{tmp_path / 'p.mha'}: the prediction has no voxel with a lesion value (3), only 1"


def test_turned_axes_are_the_same_grid(tmp_path):
    """The prediction's x runs from the patient's left to the right: its voxel 0 is the label's voxel 7."""
    label = mask(BOX, (3, 5, 7))
    turned = np.ascontiguousarray(label[:, :, ::-1])
    result = scored(tmp_path, label, turned, origin_mm=(14.0, 0.0, 0.0), direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert (result.scores.dice, result.remark) == (1, "")


def test_voxels_beyond_the_label_are_told(tmp_path):
    """Of eight voxels, from x = 4 mm to 18 mm, two are beyond the label, which ends at 15 mm."""
    resample, line = Scoring(resample=True), mask((0, 0, slice(None)))
    result = scored(tmp_path, mask(BOX), line, scoring=resample, origin_mm=(4.0, 0.0, 0.0))
    assert result.scores.prediction_ml == pytest.approx(0.06)
    assert result.remark.endswith("0.08 ml became 0.06 ml, 25.0 % of its voxels lie outside of the label's grid")
    result = scored(tmp_path, mask(BOX), line, scoring=resample, origin_mm=(200.0, 0.0, 0.0))
    assert "all lesions of the prediction lie outside of the label's grid" in result.problem
    result = scored(tmp_path, mask(BOX), mask(), scoring=resample, origin_mm=(200.0, 0.0, 0.0))
    assert result.scores.dice == 0  # an empty prediction lies nowhere


@pytest.mark.parametrize(
    ("voxels", "cases", "memory_gb", "workers"),
    [
        (50e6, 1, 64, 0),  # a single case
        (1e6, 50, 64, 0),  # small ones
        (50e6, 10, 64, 4),  # the processors
        (50e6, 3, 64, 3),  # the cases
        (50e6, 10, 5, 2),  # 2.4 GB each
        (50e6, 10, 0.5, 1),
        (50e6, 10, None, 4),
    ],
)
def test_processes_by_cases_processors_and_memory(voxels, cases, memory_gb, workers, pairs, monkeypatch):
    monkeypatch.setattr(cohort, "_count_voxels", lambda path, form: int(voxels))
    monkeypatch.setattr(cohort, "available_cpus", lambda: 4)
    monkeypatch.setattr(cohort, "usable_memory_bytes", lambda: None if memory_gb is None else memory_gb * 1e9)
    assert count_workers(pairs[:1] * cases, Scoring()) == workers


def test_voxels_of_headers_are_counted(pairs, monkeypatch):
    """The header of the damaged file is whole; a missing file counts nothing, and fails when it is scored."""
    monkeypatch.setattr(cohort, "FEW_VOXELS", 2 * 4 * 6 * 8)
    monkeypatch.setattr(cohort, "available_cpus", lambda: 4)
    missing = Pair("missing", pairs[0].label.with_name("none.mha"), pairs[0].label)
    assert count_workers([pairs[0], missing], Scoring()) == 0
    assert count_workers([pairs[0], pairs[0], missing], Scoring()) == 3
