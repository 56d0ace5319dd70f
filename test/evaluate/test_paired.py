"""Statistics of two sets of scores of the same cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from swfastedit_core.evaluate.comparison import paired
from swfastedit_core.evaluate.comparison.paired import (
    Difference,
    compare_metrics,
    list_differing,
    mean_difference,
    pooled_f1,
)
from swfastedit_core.evaluate.comparison.signed_ranks import SignedRankTest, holm, wilcoxon
from swfastedit_core.metrics.scores import Scores

NAN = math.nan
SCORES = Scores(
    dice=0.5, fpv_ml=0.0, fnv_ml=0.0, precision=1.0, recall=1.0, f1=1.0, surface_dice=0.5, hd95_mm=4.0,
    label_ml=10.0, prediction_ml=10.0, volume_error_ml=0.0, label_lesions=1, predicted_lesions=1,
    true_positives=1, false_positives=0, false_negatives=0,
)  # fmt: skip


def side(**columns):
    """Return cases a, b, c … with these values of some scores, and those of `SCORES`."""
    rows = zip(*columns.values(), strict=True)
    return {chr(ord("a") + i): replace(SCORES, **dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)}


def of(comparisons, metric):
    return next(one for one in comparisons if one.metric == metric)


def test_difference_is_b_minus_a_with_wins_ties_and_losses():
    a, b = side(dice=[0.5, 0.25, 0.5, 0.5]), side(dice=[0.75, 0.75, 0.5, 0.25])
    dice = of(compare_metrics(a, b), "dice")
    assert (dice.pairs, dice.left_out, dice.mean_a, dice.mean_b) == (4, 0, 0.4375, 0.5625)
    assert (dice.mean_difference.value, dice.median_difference) == (0.125, 0.125)
    assert (dice.b_better, dice.equal, dice.a_better) == (2, 1, 1)


def test_less_is_better_for_volumes_and_distances():
    a, b = side(fpv_ml=[3.0, 0.0], hd95_mm=[9.0, 2.0]), side(fpv_ml=[1.0, 0.0], hd95_mm=[4.0, 3.0])
    comparisons = compare_metrics(a, b)
    assert (of(comparisons, "fpv_ml").b_better, of(comparisons, "fpv_ml").equal) == (1, 1)
    assert (of(comparisons, "hd95_mm").b_better, of(comparisons, "hd95_mm").a_better) == (1, 1)


def test_volume_errors_are_compared_by_their_size():
    a, b = side(volume_error_ml=[-3.0, 2.0]), side(volume_error_ml=[1.0, 2.0])
    volume = of(compare_metrics(a, b), "absolute_volume_error_ml")
    assert (volume.mean_a, volume.mean_b, volume.b_better, volume.a_better) == (2.5, 1.5, 1, 0)


def test_pairs_that_are_not_defined_on_both_sides_are_left_out_and_counted():
    a, b = (
        side(dice=[0.5, NAN, 0.5], hd95_mm=[1.0, math.inf, NAN]),
        side(dice=[0.75, 0.5, NAN], hd95_mm=[1.0, 1.0, NAN]),
    )
    comparisons = compare_metrics(a, b)
    assert [(of(comparisons, m).pairs, of(comparisons, m).left_out) for m in ("dice", "hd95_mm")] == [(1, 2), (1, 2)]
    assert of(comparisons, "dice").mean_difference.value == 0.25
    assert of(comparisons, "dice").mean_difference.interval is None


def test_a_metric_without_pairs_has_no_values():
    dice = of(compare_metrics(side(dice=[NAN]), side(dice=[NAN])), "dice")
    assert (dice.pairs, dice.left_out, dice.test.differences) == (0, 1, 0)
    assert (dice.mean_a, dice.mean_difference.value, dice.test.p_value, dice.p_holm) == (None, None, None, None)


def test_interval_is_that_of_scipy():
    differences = np.random.default_rng(1).normal(0.1, 0.3, 40)
    expected = stats.bootstrap((differences,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(5))
    found = mean_difference(differences)
    assert found.value == pytest.approx(differences.mean())
    assert found.interval == pytest.approx(tuple(expected.confidence_interval), abs=0.01)
    assert found == mean_difference(differences)


def test_equal_differences_have_no_interval():
    assert mean_difference(np.full(5, 0.25)) == Difference(value=0.25, interval=None)


@pytest.mark.parametrize(
    ("differences", "p_value", "count", "method"),
    [
        ([1, 2, 3, -4, 5], 14 / 32, 5, "exact"),  # 7 of 32 signs give a sum of 4 or less on one side
        ([0, 1, 2, 3, 4, 5, 0], 2 / 32, 5, "exact"),
        ([1, 1, 1, 1], 2 / 16, 4, "exact with ties"),
        ([1, 1, 2, -1], 8 / 16, 4, "exact with ties"),  # ranks 2, 2, 4, 2: the negative sum is 2
    ],
)
def test_p_value_of_few_cases_counts_the_signs(differences, p_value, count, method):
    test = wilcoxon(np.array(differences, float))
    assert (test.p_value, test.differences, test.method) == (pytest.approx(p_value), count, method)


def test_exact_p_value_with_ties_is_that_of_scipys_permutations():
    differences = np.array([0.5, 0.5, -0.5, 1.0, 1.5, 1.5, 2.0, -1.0, 0.5])
    expected = stats.wilcoxon(differences, method=stats.PermutationMethod()).pvalue
    assert wilcoxon(differences).p_value == pytest.approx(expected)


@pytest.mark.parametrize("unit", [1, 1e-9, 1e6])
def test_differences_that_only_rounding_tells_apart_are_ties(unit):
    differences = unit * (np.array([0.8, 0.6, 0.3]) - np.array([0.7, 0.5, 0.4]))  # +0.1, +0.1, -0.1
    assert len(set(np.abs(differences))) == 3
    assert wilcoxon(differences) == SignedRankTest(p_value=1.0, differences=3, method="exact with ties")


def test_p_value_of_many_cases_is_the_normal_approximation():
    differences = np.round(np.random.default_rng(0).normal(0.3, 1, 70), 1)
    test = wilcoxon(differences)
    assert test.method == "normal approximation"
    assert test.differences == np.count_nonzero(differences) < 70
    assert test.p_value == pytest.approx(stats.wilcoxon(differences, method="asymptotic").pvalue)


def test_ties_with_fifty_differences_are_exact_and_near_the_normal_approximation():
    differences = np.where(np.arange(50) < 32, 1.0, -1.0)
    test = wilcoxon(differences)
    assert test.method == "exact with ties"
    assert test.p_value == pytest.approx(stats.binomtest(32, 50).pvalue)  # all ranks are the same: the sign test


def test_no_difference_has_no_p_value():
    test = wilcoxon(np.zeros(4))
    assert test.p_value is None
    assert test.method == "none: no case differs"


def test_holm_multiplies_the_smallest_by_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == [pytest.approx(0.03), 0.06, 0.06, None, 0.02]
    assert holm([0.6, 0.5]) == [1.0, 1.0]


def test_p_values_are_adjusted_for_all_metrics_that_have_one():
    dice_b, fpv_b = [0.6 + i / 100 for i in range(6)], [1.0 + i for i in range(6)]
    comparisons = compare_metrics(side(dice=[0.5] * 6, fpv_ml=[0.0] * 6), side(dice=dice_b, fpv_ml=fpv_b))
    assert of(comparisons, "dice").test.p_value == pytest.approx(2 / 64)
    assert of(comparisons, "dice").p_holm == pytest.approx(4 / 64)  # two tests, the other metrics do not differ
    assert of(comparisons, "f1").p_holm is None


def test_pooled_f1_adds_up_the_counts():
    a = side(true_positives=[3, 0, 1], false_positives=[0, 2, 0], false_negatives=[1, 0, 1])
    b = side(true_positives=[4, 0, 1], false_positives=[0, 0, 1], false_negatives=[0, 0, 1])
    found = pooled_f1(a, b)
    assert (found.f1_a, found.f1_b) == (pytest.approx(8 / 12), pytest.approx(10 / 12))
    assert found.difference.value == pytest.approx(2 / 12)
    assert found.difference.interval[0] <= 2 / 12 <= found.difference.interval[1]


def test_interval_of_pooled_f1_resamples_cases():
    rng = np.random.default_rng(0)
    lesions = rng.integers(1, 9, 40)
    found_a, found_b = rng.binomial(lesions, 0.6), rng.binomial(lesions, 0.8)
    none = [0] * 40
    a = side(true_positives=found_a, false_positives=none, false_negatives=lesions - found_a)
    b = side(true_positives=found_b, false_positives=none, false_negatives=lesions - found_b)

    def statistic(cases):
        one, other, all_of = found_a[cases].sum(), found_b[cases].sum(), lesions[cases].sum()
        return 2 * other / (other + all_of) - 2 * one / (one + all_of)

    expected = stats.bootstrap(
        (np.arange(40),), statistic, vectorized=False, n_resamples=2000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    found = pooled_f1(a, b).difference
    assert found.value == pytest.approx(statistic(np.arange(40)))
    assert found.interval == pytest.approx(tuple(expected), abs=0.02)


def test_pooled_f1_of_cases_without_lesions():
    none = {"true_positives": [0, 0], "false_negatives": [0, 0]}
    both = pooled_f1(side(**none, false_positives=[0, 0]), side(**none, false_positives=[0, 0]))
    assert (both.f1_a, both.difference) == (None, Difference(value=None))
    one = pooled_f1(side(**none, false_positives=[0, 0]), side(**none, false_positives=[0, 1]))
    assert (one.f1_a, one.f1_b, one.difference) == (None, 0.0, Difference(value=None))


def test_pooled_f1_has_an_interval_although_some_resamples_have_no_lesion():
    a = side(true_positives=[1, 0, 0], false_positives=[0, 0, 0], false_negatives=[0, 0, 0])
    b = side(true_positives=[1, 0, 0], false_positives=[0, 0, 1], false_negatives=[0, 0, 0])
    found = pooled_f1(a, b).difference
    assert found.value == pytest.approx(2 / 3 - 1)
    assert found.interval[0] < found.value < found.interval[1] <= 0


def test_the_ten_cases_that_differ_most_are_listed_by_size_of_the_difference():
    a = side(dice=[0.5] * 14, prediction_ml=[7.0] * 14)
    b = side(dice=[0.5, NAN, 0.25, *(0.5 + i / 64 for i in range(1, 12))], label_ml=[10.0] * 14)
    listed = list_differing(a, b)
    assert [one.case for one in listed] == list("cnmlkjihgf")
    assert (listed[0].dice_a, listed[0].dice_b, listed[0].difference) == (0.5, 0.25, -0.25)
    assert (listed[0].label_ml, listed[0].prediction_ml_a, listed[0].prediction_ml_b) == (10.0, 7.0, 10.0)


def test_a_side_compared_with_itself_has_no_difference():
    same = side(dice=[0.1, 0.9], true_positives=[1, 2])
    comparisons = compare_metrics(same, same)
    assert {one.mean_difference.value for one in comparisons} == {0.0}
    assert {(one.b_better, one.equal, one.a_better) for one in comparisons} == {(0, 2, 0)}
    assert list_differing(same, same) == []
    assert set(paired.BETTER) == {one.metric for one in comparisons}
