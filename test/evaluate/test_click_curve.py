"""Areas, numbers of clicks, and curves as JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from click_curves import curve, step

from swfastedit_core.evaluate.clicks.curve import area, decode_curve, encode_curve, first_step_with


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5], 0.0),
        ([0.0, 1.0], 0.5),
        ([1.0] * 11, 10.0),  # autoPET IV
        ([1.0] * 6, 5.0),  # autoPET V
        ([0.2, 0.4, 0.8, 0.6], 0.1 + 0.4 + 0.8 + 0.3),
        ([4.0, 0.0, 2.0], 2.0 + 0.0 + 1.0),
    ],
)
def test_areas_are_trapezoids_over_step_numbers_and_not_normalised(values, expected):
    assert area(values) == pytest.approx(expected)


def test_an_area_is_not_defined_if_a_step_is_not():
    assert math.isnan(area([0.5, math.nan, 0.5]))


def test_the_first_step_with_a_dice_counts_also_if_later_ones_are_worse():
    dice = [0.1, 0.79, 0.8, 0.5, 0.95]
    assert (first_step_with(dice, 0.8), first_step_with(dice, 0.9), first_step_with(dice, 0.96)) == (2, 4, None)
    assert first_step_with([0.9], 0.9) == 0


def test_values_by_step_and_clicks_so_far():
    two = curve(step(0.5, fpv=1.0), step(0.75, tumour=[(1, 2, 3)], background=[(4, 5, 6), (4, 5, 7)]), step(1.0))
    np.testing.assert_array_equal(two.values("dice"), [0.5, 0.75, 1.0])
    np.testing.assert_array_equal(two.values("fpv_ml"), [1.0, 0.0, 0.0])
    assert [two.clicks_until(number) for number in range(3)] == [(0, 0), (1, 2), (1, 2)]


def test_times_of_clicks_leave_out_step_0_and_steps_without_a_computation():
    timed = curve(step(0.5, seconds=9.0), step(0.6, seconds=1.0), step(0.6, seconds=None), step(0.7, seconds=2.0))
    assert timed.seconds_of_clicks == [1.0, 2.0]


def test_a_curve_is_read_back_from_json():
    written = curve(
        step(math.nan, fpv=1 / 3, lesions=(0, 4, 0), seconds=0.25),
        step(math.nan, tumour=[(1, 2, 3)], background=[(7, 8, 9), (0, 0, 1)], failure="out of memory, ü"),
        drawn_by="boundary",
    )
    found = decode_curve(json.loads(json.dumps(encode_curve(written), allow_nan=False)))
    assert repr(found) == repr(written)  # NaN is not equal to itself


@pytest.mark.parametrize("damage", ["steps", "scores", "dice", "voxel", "number"])
def test_other_values_are_no_curve(damage):
    values = json.loads(json.dumps(encode_curve(curve(step(0.5), step(0.6, tumour=[(1, 2, 3)])))))
    damaged = {
        "steps": lambda: values.pop("steps"),
        "scores": lambda: values["steps"][1].pop("scores"),
        "dice": lambda: values["steps"][1]["scores"].pop("dice"),
        "voxel": lambda: values["steps"][1]["tumour"][0].pop(),
        "number": lambda: values["steps"][1]["scores"].update(dice="0.5"),
    }
    damaged[damage]()
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_curve(values)
