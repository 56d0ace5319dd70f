"""Averages and intervals of a cohort."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swfastedit_core.evaluate.cohort import CaseResult
from swfastedit_core.evaluate.summary import bootstrap_interval, pool_lesions, statistics, summarise
from swfastedit_core.metrics.scores import Scores

DICE = [0.2, 0.9, 0.85, 0.7, 0.65, 0.91, 0.4, 0.88]


def scores(found=0, false=0, missed=0, **others):
    """Make scores of which only some matter."""
    values = dict.fromkeys(Scores.__dataclass_fields__, 0.5)
    counts = {"true_positives": found, "false_positives": false, "false_negatives": missed}
    return Scores(**{**values, **counts, **others})


def test_interval_is_that_of_scipy():
    expected = stats.bootstrap((DICE,), np.mean, n_resamples=9_999, method="BCa", rng=np.random.default_rng(0))
    assert statistics(DICE).interval == tuple(expected.confidence_interval)


def test_interval_does_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    before = statistics(DICE).interval
    monkeypatch.setattr("swfastedit_core.evaluate.summary.VALUES_AT_ONCE", 8 * 1000)
    assert statistics(DICE).interval == pytest.approx(before)


def test_quartiles_by_hand_and_values_that_are_not_defined():
    one = statistics([4.0, math.nan, 1.0, 2.0, math.inf, 3.0, 10.0])
    assert (one.n, one.mean, one.low, one.q1, one.median, one.q3, one.high) == (5, 4.0, 1.0, 2.0, 3.0, 4.0, 10.0)


@pytest.mark.parametrize("values", [[], [math.nan], [0.7], [0.3] * 5, [0.0] * 200])
def test_no_interval_without_two_different_values(values):
    assert statistics(values).interval is None


def test_no_interval_if_a_resample_can_have_no_lesion():
    """Of two cases, a quarter of the resamples have the one without lesions twice: 0 / 0."""
    pooled = pool_lesions([scores(found=2), scores()])
    assert pooled.f1.value == 1
    assert pooled.f1.interval is None


def test_lesions_are_pooled_and_not_averaged():
    """TP 3 + 1, FP 0 + 4, FN 1 + 0: the mean of F1 by case would be 0.595."""
    pooled = pool_lesions([scores(3, 0, 1), scores(1, 4, 0)])
    assert (pooled.true_positives, pooled.false_positives, pooled.false_negatives) == (4, 4, 1)
    assert pooled.precision.value == 4 / 8
    assert pooled.recall.value == 4 / 5
    assert pooled.f1.value == pytest.approx(8 / (8 + 4 + 1))


def test_interval_of_the_pooled_f1_samples_cases_with_all_their_lesions():
    counts = [(3, 0, 1), (1, 4, 0), (5, 1, 2), (2, 2, 2), (8, 1, 0)]

    def f1(found, false, missed, axis):
        found, false, missed = (array.sum(axis=axis) for array in (found, false, missed))
        return 2 * found / (2 * found + false + missed)

    columns = np.array(counts, float).T
    expected = stats.bootstrap(
        tuple(columns), f1, paired=True, vectorized=True, n_resamples=9_999, method="BCa", rng=np.random.default_rng(0)
    )
    found = pool_lesions([scores(*one) for one in counts]).f1.interval
    assert found == pytest.approx(tuple(expected.confidence_interval))


def test_without_cases_nothing_is_defined():
    summary = summarise([CaseResult(case="a", problem="damaged")])
    assert (summary.cases, summary.failed, summary.metrics["dice"].n) == (1, 1, 0)
    assert summary.lesions.f1.value is None


def test_empty_labels_and_predictions_are_counted():
    volumes = [(0, 0), (0, 2), (3, 0), (3, 2)]
    results = [
        CaseResult(case=str(i), scores=scores(label_ml=label, prediction_ml=prediction))
        for i, (label, prediction) in enumerate(volumes)
    ]
    summary = summarise([*results, CaseResult(case="bad", problem="damaged")])
    assert (summary.empty_labels, summary.empty_predictions, summary.both_empty) == (2, 2, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_interval_lies_within_the_values(values):
    interval = bootstrap_interval((np.array(values),), np.mean)
    if interval is not None:
        assert min(values) - 1e-12 <= interval[0] < interval[1] <= max(values) + 1e-12
