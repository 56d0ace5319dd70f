"""Dice, FPV, FNV and lesions of a mask, without distances."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from drawn_masks import drawn, pairs_of_masks
from hypothesis import given, settings

from swfastedit_core.metrics.overlap_scores import RULES, OverlapScores, score_overlap
from swfastedit_core.metrics.scores import score_mask

VOXEL_ML = 0.5
NOTHING = drawn("......", "......")


def scores(truth, prediction, rules="autopet5"):
    return score_overlap(truth, prediction, voxel_ml=VOXEL_ML, rules=rules)


def test_scores_of_a_drawn_mask():
    truth = drawn("##..#.", "##....", "....##", "......")  # three lesions: 4 voxels, 1, 2
    prediction = drawn("#...#.", "#.....", "......", ".###..")  # finds two; three voxels are false
    found = scores(truth, prediction)
    assert asdict(found) == {
        "dice": 2 * 3 / (7 + 6),
        "fpv_ml": 1.5,
        "fnv_ml": 1.0,
        "true_positives": 2,
        "false_positives": 1,
        "false_negatives": 1,
    }
    assert found.dmm == 4 / 6


def test_a_component_that_overlaps_too_little_is_a_false_positive_without_a_volume():
    truth, prediction = drawn("#####......"), drawn("....#######")  # an IoU of 1/11
    found = scores(truth, prediction)
    assert (found.fpv_ml, found.fnv_ml, found.dmm) == (0, 0, 0)
    assert (found.true_positives, found.false_positives, found.false_negatives) == (0, 1, 1)
    assert found.dice == 2 / 12


def test_an_empty_label_defines_no_dice_fnv_and_dmm_but_its_false_positives_count():
    found = scores(NOTHING, drawn("##...#", "......"))
    assert (found.fpv_ml, found.false_positives, found.true_positives, found.false_negatives) == (1.5, 2, 0, 0)
    assert [math.isnan(value) for value in (found.dice, found.fnv_ml, found.dmm)] == [True] * 3


def test_an_empty_prediction_misses_everything():
    found = scores(drawn("##...#", "......"), NOTHING)
    assert (found.dice, found.fpv_ml, found.fnv_ml, found.dmm, found.false_negatives) == (0, 0, 1.5, 0, 2)


@given(pairs_of_masks())
@settings(max_examples=50, deadline=None)
def test_they_are_those_of_all_scores(masks):
    truth, prediction = masks
    for rules in RULES:
        every = score_mask(truth, prediction, spacing_zyx_mm=(5, 10, 10), rules=rules)
        found = scores(truth, prediction, rules)
        for name, value in (asdict(found) | {"f1": found.dmm}).items():
            assert value == pytest.approx(getattr(every, name), nan_ok=True), name


def test_false_positives_alone_define_no_dmm():
    lesions = {"true_positives": 0, "false_positives": 3, "false_negatives": 0}
    assert math.isnan(OverlapScores(dice=math.nan, fpv_ml=1.0, fnv_ml=math.nan, **lesions).dmm)


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="differ in shape"):
        scores(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="autopet5, not 'autopet1'"):
        scores(NOTHING, NOTHING, "autopet1")
