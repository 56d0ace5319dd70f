from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swfastedit_core.metrics.overlap import agreement_dice, dice, false_negative_ml, false_positive_ml


def drawn(*rows):
    """Turn rows of '#' and '.' into a mask of one slice."""
    return np.array([[[char == "#" for char in row] for row in rows]])


TRUTH = drawn("##....", "##....", "....#.", "......")
FOUND = drawn("#....#", "#.....", "......", "..##..")


def test_dice_by_hand():
    assert dice(TRUTH, FOUND) == pytest.approx(2 * 2 / (5 + 5))
    assert dice(TRUTH, TRUTH) == 1.0
    assert dice(TRUTH, ~TRUTH) == 0.0


def test_agreement_of_masks_that_may_be_empty():
    nothing = np.zeros_like(TRUTH)
    assert agreement_dice(nothing, nothing) == 1.0
    assert agreement_dice(nothing, FOUND) == agreement_dice(FOUND, nothing) == 0.0
    assert agreement_dice(TRUTH, FOUND * 3) == pytest.approx(2 * 2 / (5 + 5))  # foreground is what is not 0
    with pytest.raises(ValueError, match="differ in shape"):
        agreement_dice(nothing, FOUND[:, :2])


def test_false_volumes_by_hand():
    assert false_positive_ml(TRUTH, FOUND, voxel_ml=0.5) == pytest.approx(3 * 0.5)
    assert false_negative_ml(TRUTH, FOUND, voxel_ml=0.5) == pytest.approx(1 * 0.5)


def test_nothing_to_find():
    nothing = np.zeros_like(TRUTH)
    assert math.isnan(dice(nothing, FOUND))
    assert math.isnan(false_negative_ml(nothing, FOUND, voxel_ml=1.0))
    assert false_positive_ml(nothing, FOUND, voxel_ml=1.0) == 5.0


def test_nothing_found():
    nothing = np.zeros_like(TRUTH)
    assert dice(TRUTH, nothing) == 0.0
    assert false_positive_ml(TRUTH, nothing, voxel_ml=1.0) == 0.0
    assert false_negative_ml(TRUTH, nothing, voxel_ml=1.0) == 5.0


@pytest.mark.parametrize(
    ("second", "joined"),
    [((0, 0, 1), True), ((0, 1, 1), True), ((1, 1, 0), True), ((1, 1, 1), False), ((0, 0, 2), False)],
)
def test_components_are_18_connected(second, joined):
    truth, found = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    found[0, 0, 0] = truth[0, 0, 0] = found[second] = True
    assert false_positive_ml(truth, found, voxel_ml=1.0) == (0.0 if joined else 1.0)


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        dice(TRUTH, FOUND[:, :2])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), density=st.sampled_from([0.02, 0.2, 0.6]))
def test_metrics_equal_a_search_voxel_by_voxel(seed, density):
    rng = np.random.default_rng(seed)
    truth, found = rng.random((2, 5, 6, 7)) < density
    if truth.any():
        assert dice(truth, found) == pytest.approx(2 * (truth & found).sum() / (truth.sum() + found.sum()))
    expected = sum(len(part) for part in parts(found) if not any(truth[voxel] for voxel in part))
    assert false_positive_ml(truth, found, voxel_ml=1.0) == expected


def parts(mask):
    """Find the components by walking from voxel to voxel."""
    steps = [s for s in product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, s)) < 3]
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        queue, part = [left.pop()], []
        while queue:
            voxel = queue.pop()
            part.append(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps} & left
            left -= near
            queue += near
        found.append(part)
    return found
