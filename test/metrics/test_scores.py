from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from drawn_masks import box, drawn, pairs_of_masks
from grand_challenge_metrics.stats import calculate_confusion_matrix, dice_from_confusion_matrix
from hypothesis import given, settings

from swfastedit_core.components import component_sizes, label_components
from swfastedit_core.metrics.overlap import dice, false_negative_ml, false_positive_ml
from swfastedit_core.metrics.scores import RULES, score_mask

SPACING = (5.0, 4.0, 2.0)  # a voxel has 0.04 ml
NAN = math.nan
NOTHING = drawn("......", "......", "......")
LESIONS = drawn("##....", "......", "....#.")


def scores(truth, prediction, **options):
    return asdict(score_mask(truth, prediction, **{"spacing_zyx_mm": SPACING, **options}))


def same(expected):
    return pytest.approx(expected, nan_ok=True, abs=1e-9)


def test_all_scores_of_a_drawn_mask():
    truth = drawn("##....", "##....", "....#.")
    prediction = drawn("##...#", "#.....", "......")
    found = scores(truth, prediction)
    assert 0 < found.pop("surface_dice") < 1  # by hand in the next test
    assert found == same(
        {
            "dice": 2 * 3 / (5 + 4),
            "fpv_ml": 0.04,
            "fnv_ml": 0.04,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "f1": 1 / 2,
            "hd95_mm": 2.0,  # element 3 of the label's 0, 0, 0, 2, √68; element 2 of the prediction's 0, 0, 0, √68
            "label_ml": 0.2,
            "prediction_ml": 0.16,
            "volume_error_ml": -0.04,
            "label_lesions": 2,
            "predicted_lesions": 2,
            "true_positives": 1,
            "false_positives": 1,
            "false_negatives": 1,
        }
    )


def test_surface_dice_by_hand():
    """Two voxels one apart along x, 2 mm: their eight cells of equal area each, four of them common."""
    one, other = drawn("#.."), drawn(".#.")
    assert scores(one, other, tolerance_mm=1.9)["surface_dice"] == same(0.5)
    assert scores(one, other)["surface_dice"] == 1.0  # 2 mm by default
    assert scores(one, drawn("..#"))["surface_dice"] == same(0.5)
    assert scores(one, drawn("..#"), tolerance_mm=4)["surface_dice"] == 1.0


@pytest.mark.parametrize("rules", RULES)
def test_both_empty(rules):
    expected = {"dice": NAN, "fpv_ml": 0.0, "fnv_ml": 0.0 if rules == "autopet2" else NAN}
    expected |= {"precision": NAN, "recall": NAN, "f1": NAN, "surface_dice": NAN, "hd95_mm": NAN}
    expected |= {"label_ml": 0.0, "prediction_ml": 0.0, "volume_error_ml": 0.0}
    expected |= {"label_lesions": 0, "predicted_lesions": 0}
    expected |= {"true_positives": 0, "false_positives": 0, "false_negatives": 0}
    assert scores(NOTHING, NOTHING, rules=rules) == same(expected)


@pytest.mark.parametrize("rules", RULES)
def test_empty_label(rules):
    old = rules == "autopet2"
    expected = {"dice": 0.0 if old else NAN, "fpv_ml": 0.12, "fnv_ml": 0.0 if old else NAN}
    expected |= {"precision": NAN, "recall": NAN, "f1": NAN, "surface_dice": 0.0, "hd95_mm": NAN}
    expected |= {"label_ml": 0.0, "prediction_ml": 0.12, "volume_error_ml": 0.12}
    expected |= {"label_lesions": 0, "predicted_lesions": 2}
    expected |= {"true_positives": 0, "false_positives": 2, "false_negatives": 0}
    assert scores(NOTHING, LESIONS, rules=rules) == same(expected)


@pytest.mark.parametrize("rules", RULES)
def test_empty_prediction(rules):
    expected = {"dice": 0.0, "fpv_ml": 0.0, "fnv_ml": 0.12}
    expected |= {"precision": NAN, "recall": 0.0, "f1": 0.0, "surface_dice": 0.0, "hd95_mm": NAN}
    expected |= {"label_ml": 0.12, "prediction_ml": 0.0, "volume_error_ml": -0.12}
    expected |= {"label_lesions": 2, "predicted_lesions": 0}
    expected |= {"true_positives": 0, "false_positives": 0, "false_negatives": 2}
    assert scores(LESIONS, NOTHING, rules=rules) == same(expected)


def test_full_and_equal_masks():
    full = np.ones((3, 4, 5), bool)
    found = scores(full, full)
    assert (found["dice"], found["f1"], found["surface_dice"], found["hd95_mm"]) == (1, 1, 1, 0)
    assert (found["fpv_ml"], found["fnv_ml"], found["volume_error_ml"], found["label_ml"]) == same((0, 0, 0, 2.4))


@pytest.mark.parametrize(
    ("second", "fpv_ml", "found_lesions"),
    [((0, 0, 1), 0.0, 1), ((0, 1, 1), 0.0, 1), ((1, 1, 0), 0.0, 1), ((1, 1, 1), 0.04, 2)],
)
def test_components_join_at_faces_and_edges_but_not_at_corners(second, fpv_ml, found_lesions):
    truth, prediction = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    truth[0, 0, 0] = prediction[0, 0, 0] = prediction[second] = True
    found = scores(truth, prediction)
    assert (found["fpv_ml"], found["predicted_lesions"]) == same((fpv_ml, found_lesions))
    assert (found["false_positives"], found["f1"]) == same((found_lesions - 1, 1 if found_lesions == 1 else 2 / 3))


def test_one_prediction_over_two_lesions_and_the_reverse():
    two, one = drawn("###.###"), drawn("#######")
    over = scores(two, one)
    assert (over["true_positives"], over["false_positives"], over["false_negatives"], over["f1"]) == (2, 0, 0, 1)
    under = scores(one, two)
    assert (under["true_positives"], under["false_positives"], under["false_negatives"], under["f1"]) == (1, 0, 0, 1)


def test_iou_of_exactly_a_tenth_is_a_match():
    found = scores(drawn("#####......"), drawn("....######."))
    assert (found["f1"], found["precision"], found["recall"], found["dice"]) == same((1, 1, 1, 2 / 11))
    found = scores(drawn("#####......"), drawn("....#######"))
    assert (found["f1"], found["precision"], found["recall"], found["dice"]) == same((0, 0, 0, 2 / 12))
    assert found["fpv_ml"] == found["fnv_ml"] == 0  # they overlap


def test_f1_is_not_symmetric_where_two_components_find_one_lesion():
    truth, prediction = drawn("#####.#"), drawn("##.##..")
    assert scores(truth, prediction)["f1"] == same(2 / 3)  # 1 found, 1 missed
    assert scores(prediction, truth)["f1"] == same(4 / 5)  # 2 found, 1 false positive


def test_lesion_at_the_border_of_the_array():
    """Its surface is closed and its outer voxels are border voxels, so it scores as anywhere else."""
    corner = scores(box((6, 6, 6), (0, 0, 0), (3, 3, 3)), box((6, 6, 6), (0, 0, 0), (3, 3, 4)))
    middle = scores(box((9, 9, 9), (3, 3, 3), (3, 3, 3)), box((9, 9, 9), (3, 3, 3), (3, 3, 4)))
    assert corner == same(middle)
    assert corner["hd95_mm"] == 2.0


def test_spacing_is_along_z_y_x():
    one = box((3, 3, 3), (0, 0, 0), (1, 1, 1))
    for axis, distance in enumerate(SPACING):
        start = [0, 0, 0]
        start[axis] = 1
        found = scores(one, box((3, 3, 3), start, (1, 1, 1)))
        assert (found["hd95_mm"], found["label_ml"]) == same((distance, 0.04))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_voxels_that_are_not_0_are_foreground(dtype):
    truth, prediction = drawn("##.#"), drawn("#..#")
    values = np.array([[[1, 3, 2, 5]]])
    found = scores((truth * values).astype(dtype), np.asfortranarray((prediction * values).astype(dtype))[:, :, :])
    assert found == same(scores(truth, prediction))
    assert found["dice"] == same(2 * 2 / (3 + 2))


def test_scores_are_plain_numbers():
    found = scores(LESIONS, drawn("##....", "......", "......"), spacing_zyx_mm=np.array(SPACING, np.float32))
    assert json.loads(json.dumps(found)) == found
    assert {type(value) for value in found.values()} == {int, float}


def test_arguments_stay_as_they_are():
    truth, prediction = LESIONS.astype(np.uint8), drawn("##....", "......", "......").astype(np.uint8)
    for array in (truth, prediction):
        array.flags.writeable = False
    assert scores(truth, prediction)["f1"] == same(2 / 3)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match=r"label \(1, 3, 6\) and prediction \(1, 2, 6\) differ in shape"):
        scores(LESIONS, LESIONS[:, :2])
    with pytest.raises(ValueError, match="rules must be one of autopet2, autopet3, autopet4, autopet5, not 'autopet1'"):
        scores(LESIONS, LESIONS, rules="autopet1")


@settings(max_examples=40, deadline=None)
@given(masks=pairs_of_masks())
def test_scores_equal_those_of_the_other_modules_and_of_grand_challenge(masks):
    truth, prediction = masks
    found = scores(truth, prediction)
    assert found["dice"] == same(dice(truth, prediction))
    assert found["fpv_ml"] == same(false_positive_ml(truth, prediction, voxel_ml=0.04))
    assert found["fnv_ml"] == same(false_negative_ml(truth, prediction, voxel_ml=0.04))
    if truth.any():
        matrix = calculate_confusion_matrix(truth, prediction, labels=[1, 0])
        with np.errstate(invalid="ignore"):  # no background at all
            assert found["dice"] == pytest.approx(dice_from_confusion_matrix(matrix)[0], abs=1e-6)
    numbers, count = label_components(truth)
    assert found["label_ml"] == same(component_sizes(numbers, count).sum() * 0.04)
    assert found["label_lesions"] == count


@settings(max_examples=40, deadline=None)
@given(masks=pairs_of_masks())
def test_scores_depend_on_no_axis_and_no_margin(masks):
    expected = same(scores(*masks))
    for axis in range(3):
        assert scores(*(np.flip(mask, axis) for mask in masks)) == expected
    turned = [mask.transpose(1, 2, 0) for mask in masks]
    assert scores(*turned, spacing_zyx_mm=(4.0, 2.0, 5.0)) == expected
    assert scores(*(np.pad(mask, ((0, 2), (1, 0), (3, 1))) for mask in masks)) == expected


@settings(max_examples=40, deadline=None)
@given(masks=pairs_of_masks())
def test_scores_of_exchanged_masks(masks):
    forward, backward = scores(*masks), scores(*masks[::-1])
    for name in ("surface_dice", "hd95_mm"):
        assert forward[name] == same(backward[name])
    assert forward["label_ml"] == same(backward["prediction_ml"])
    assert forward["volume_error_ml"] == same(-backward["volume_error_ml"])
    if all(mask.any() for mask in masks):
        assert forward["dice"] == same(backward["dice"])
        assert forward["fpv_ml"] == same(backward["fnv_ml"])
        assert forward["label_lesions"] == backward["predicted_lesions"]
        matched = backward["true_positives"]  # predicted components with a match
        assert forward["false_positives"] == forward["predicted_lesions"] - matched
