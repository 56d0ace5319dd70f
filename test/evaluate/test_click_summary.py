"""Averages over cases, by hand."""

from __future__ import annotations

import math

import pytest
from click_curves import curve, step

from swfastedit_core.evaluate.clicks.curve import CurveResult
from swfastedit_core.evaluate.clicks.summary import summarise_curves

NAN = math.nan
VOXEL = (0, 0, 0)


@pytest.fixture
def summary():
    """Three steps of four cases: one gets good, one stays bad, one has an empty label, one has no scores."""
    good = curve(
        step(0.4, fpv=4.0, fnv=2.0, lesions=(1, 3, 1), seconds=10.0),
        step(0.8, fpv=2.0, fnv=0.0, lesions=(2, 1, 0), tumour=[VOXEL], background=[VOXEL], seconds=1.0),
        step(1.0, fpv=0.0, fnv=0.0, lesions=(2, 0, 0), tumour=[VOXEL], seconds=2.0),
    )
    bad = curve(
        step(0.2, fpv=0.0, fnv=1.0, lesions=(0, 1, 1), seconds=20.0),
        step(0.0, fpv=0.0, fnv=1.0, lesions=(0, 0, 1), background=[VOXEL], seconds=3.0),
        step(0.0, fpv=0.0, fnv=1.0, lesions=(0, 0, 1), seconds=None),
    )
    empty = curve(
        step(NAN, fpv=8.0, lesions=(0, 2, 0), seconds=30.0),
        step(NAN, fpv=1.0, lesions=(0, 1, 0), background=[VOXEL], seconds=5.0),
        step(NAN, fpv=0.0, lesions=(0, 0, 0), background=[VOXEL], seconds=7.0),
    )
    results = [CurveResult(case=name, scores=one) for name, one in (("good", good), ("bad", bad), ("empty", empty))]
    return summarise_curves([*results, CurveResult(case="none", problem="is damaged")])


def test_counts(summary):
    assert (summary.cases, summary.failed, summary.empty_labels, summary.failed_steps) == (4, 1, 1, 0)


def test_means_by_step_leave_out_what_is_not_defined(summary):
    def means(name):
        return [one.metrics[name].mean for one in summary.steps]

    assert means("dice") == pytest.approx([0.3, 0.4, 0.5])
    assert means("fpv_ml") == pytest.approx([4.0, 1.0, 0.0])  # the empty label counts
    assert means("fnv_ml") == pytest.approx([1.5, 0.5, 0.5])
    assert means("dmm") == pytest.approx([(2 / 6 + 0) / 2, (4 / 5 + 0) / 2, 0.5])
    assert [one.metrics["dice"].n for one in summary.steps] == [2, 2, 2]


def test_lesions_are_pooled_by_step_with_false_positives_of_empty_labels(summary):
    pooled = [2 / (2 + 6 + 2), 4 / (4 + 2 + 1), 4 / (4 + 0 + 1)]
    assert [one.lesions.f1.value for one in summary.steps] == pytest.approx(pooled)
    assert summary.pooled_dmm_area == pytest.approx(pooled[0] / 2 + pooled[1] + pooled[2] / 2)


def test_areas_are_means_over_the_cases(summary):
    areas = {name: (one.mean, one.n) for name, one in summary.areas.items()}
    assert areas["dice"] == pytest.approx(((1.5 + 0.1) / 2, 2))
    assert areas["fpv_ml"] == pytest.approx(((4.0 + 0.0 + 5.0) / 3, 3))
    assert areas["fnv_ml"] == pytest.approx(((1.0 + 2.0) / 2, 2))
    assert areas["dmm"] == pytest.approx(((1 / 6 + 4 / 5 + 1 / 2 + 0) / 2, 2))


def test_the_number_of_clicks_is_the_last_step_for_cases_that_never_reach_the_dice(summary):
    at_80, at_90 = summary.noc
    assert (at_80.target, at_80.steps.mean, at_80.steps.n, at_80.failures) == (0.8, (1 + 2) / 2, 2, 1)
    assert (at_90.target, at_90.steps.mean, at_90.steps.n, at_90.failures) == (0.9, (2 + 2) / 2, 2, 1)


def test_clicks_and_times(summary):
    assert [one.tumour_clicks for one in summary.steps] == pytest.approx([0, 1 / 3, 2 / 3])
    assert [one.background_clicks for one in summary.steps] == pytest.approx([0, 1, 4 / 3])
    assert [one.seconds.median for one in summary.steps] == [20.0, 3.0, 4.5]
    assert summary.seconds_per_click.mean == pytest.approx((1.5 + 3.0 + 6.0) / 3)


def test_a_cohort_of_empty_labels_has_no_dice_and_no_number_of_clicks():
    empty = curve(step(NAN, fpv=1.0, lesions=(0, 1, 0)), step(NAN, fpv=0.5, lesions=(0, 0, 0), seconds=None))
    found = summarise_curves([CurveResult(case="a", scores=empty)])
    assert (found.areas["dice"].mean, found.areas["fpv_ml"].mean) == (None, 0.75)
    assert [(one.steps.mean, one.failures) for one in found.noc] == [(None, 0), (None, 0)]
    assert (found.pooled_dmm_area, found.seconds_per_click.mean) == (None, None)
