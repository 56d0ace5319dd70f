from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_masks import drawn, pairs_of_masks
from hypothesis import given, settings

from swfastedit_core.components import label_components
from swfastedit_core.metrics.matching import LesionCounts, match_lesions, overlap_components
from swfastedit_core.metrics.overlap import false_negative_ml, false_positive_ml


def count(truth, prediction):
    lesions = match_lesions(overlap_components(truth, prediction))
    return lesions.true_positives, lesions.false_positives, lesions.false_negatives


EXAMPLES = {
    "nothing": ("....", "....", (0, 0, 0)),
    "missed": ("##..", "....", (0, 0, 1)),
    "false positive": ("....", "#..#", (0, 2, 0)),
    "same": ("##.#", "##.#", (2, 0, 0)),
    "IoU of exactly 0.1": ("#####.....", "....######", (1, 0, 0)),
    "IoU of 1/11": ("#####......", "....#######", (0, 1, 1)),
    "IoU of exactly 3/30": ("#" * 13 + "." * 17, "." * 10 + "#" * 20, (1, 0, 0)),
    "one component over two lesions": ("##.##", "#####", (2, 0, 0)),
    "two components in one lesion": ("#####", "##.##", (1, 0, 0)),
    "one of two components is too small": ("###########.", "#.##########", (1, 1, 0)),
    "two components, both too small": ("#" * 21, "#" + "." * 19 + "#", (0, 2, 1)),
    "one component, of which one lesion is too small": ("#.##########", "###########.", (1, 0, 1)),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_lesions_are_matched_as_in_autopet_5(name):
    truth, prediction, expected = EXAMPLES[name]
    assert count(drawn(truth), drawn(prediction)) == expected


@pytest.mark.parametrize(
    ("second", "lesions"), [((0, 0, 1), 1), ((0, 1, 1), 1), ((1, 1, 0), 1), ((1, 1, 1), 2), ((0, 0, 2), 2)]
)
def test_lesions_are_18_connected(second, lesions):
    truth, prediction = np.zeros((2, 2, 3), bool), np.zeros((2, 2, 3), bool)
    truth[0, 0, 0] = truth[second] = prediction[0, 0, 0] = True
    assert count(truth, prediction) == (1, 0, lesions - 1)
    assert match_lesions(overlap_components(truth, prediction)).f1 == pytest.approx(1 if lesions == 1 else 2 / 3)


def test_rates():
    lesions = LesionCounts(true_positives=3, false_positives=1, false_negatives=2)
    assert (lesions.precision, lesions.recall, lesions.f1) == pytest.approx((3 / 4, 3 / 5, 6 / 9))
    missed = LesionCounts(true_positives=0, false_positives=0, false_negatives=2)
    assert (missed.recall, missed.f1) == (0, 0)
    assert math.isnan(missed.precision)
    extra = LesionCounts(true_positives=0, false_positives=2, false_negatives=0)
    assert (extra.precision, extra.f1) == (0, 0)
    assert math.isnan(extra.recall)
    assert math.isnan(LesionCounts(true_positives=0, false_positives=0, false_negatives=0).f1)


def test_overlaps_by_hand():
    overlaps = overlap_components(drawn("##.###..#"), drawn("####..##."))
    assert overlaps.label_voxels.tolist() == [2, 3, 1]
    assert overlaps.predicted_voxels.tolist() == [4, 2]
    assert overlaps.label_index.tolist() == [0, 1]
    assert overlaps.predicted_index.tolist() == [0, 0]
    assert overlaps.shared_voxels.tolist() == [2, 1]
    assert (overlaps.missed_voxels, overlaps.false_voxels) == (1, 2)


@settings(max_examples=80, deadline=None)
@given(masks=pairs_of_masks())
def test_counts_equal_a_loop_over_components(masks):
    truth, prediction = masks
    lesions, found = (split(mask) for mask in masks)
    matches = [(i, j) for i, a in enumerate(lesions) for j, b in enumerate(found) if iou_is_a_tenth(a, b)]
    true_positives, matched = len({i for i, _ in matches}), len({j for _, j in matches})
    assert count(truth, prediction) == (true_positives, len(found) - matched, len(lesions) - true_positives)
    overlaps = overlap_components(truth, prediction)
    assert overlaps.false_voxels == false_positive_ml(truth, prediction, voxel_ml=1.0)
    if truth.any():
        assert overlaps.missed_voxels == false_negative_ml(truth, prediction, voxel_ml=1.0)
    assert (overlaps.label_voxels.sum(), overlaps.predicted_voxels.sum()) == (truth.sum(), prediction.sum())
    assert overlaps.shared_voxels.sum() == (truth & prediction).sum()


def split(mask):
    numbers, count = label_components(mask)
    return [numbers == number for number in range(1, count + 1)]


def iou_is_a_tenth(one, other):
    return 10 * int((one & other).sum()) >= int((one | other).sum())
