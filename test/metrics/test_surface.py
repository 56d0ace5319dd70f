from __future__ import annotations

import math

import numpy as np
import pytest
import surface_distance
from drawn_masks import box, drawn, pairs_of_masks
from grand_challenge_metrics.stats import percentile_hausdorff_distance
from hypothesis import given, settings
from scipy import ndimage

from swfastedit_core.metrics.surface import border_voxels, hd95_mm, surface_dice, surfel_hd95_mm

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning:surface_distance")

SHAPE = (14, 14, 14)
BOX = box(SHAPE, (4, 4, 4), (4, 4, 4))
NOTHING = np.zeros(SHAPE, bool)
SPACING = (3.0, 2.0, 1.0)

# Masks, spacing, surface Dice by tolerance in mm, HD95 by area: what surface-distance gives.
PAIRS = {
    "voxels two apart": (box(SHAPE, (5, 6, 7), (1, 1, 1)), box(SHAPE, (5, 6, 9), (1, 1, 1)), SPACING, {1: 0.5}, 2),
    "longer box": (BOX, box(SHAPE, (4, 4, 4), (4, 4, 6)), SPACING, {1: 0.779853}, 2),
    "shifted box": (BOX, box(SHAPE, (5, 4, 4), (4, 4, 4)), SPACING, {1: 0.812058, 2: 0.831741, 4: 1}, 3),
    "half volumes": (
        box((100, 100, 100), (0, 0, 0), (50, 100, 100)),
        box((100, 100, 100), (0, 0, 0), (51, 100, 100)),
        (2.0, 1.0, 1.0),
        {1: 0.836145},
        2,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_of_surface_distance(name):
    truth, prediction, spacing, dice, hd95 = PAIRS[name]
    for tolerance_mm, expected in dice.items():
        found = surface_dice(truth, prediction, spacing_zyx_mm=spacing, tolerance_mm=tolerance_mm)
        assert found == pytest.approx(expected, abs=1e-6)
        assert found == pytest.approx(oracle(truth, prediction, spacing, tolerance_mm)[0])
    assert surfel_hd95_mm(truth, prediction, spacing_zyx_mm=spacing) == pytest.approx(hd95)
    assert hd95_mm(truth, prediction, spacing_zyx_mm=spacing) == pytest.approx(hd95)  # the same for these


def oracle(truth, prediction, spacing, tolerance_mm):
    """Return surface Dice and HD95 of surface-distance."""
    distances = surface_distance.compute_surface_distances(truth, prediction, spacing)
    return (
        surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm),
        surface_distance.compute_robust_hausdorff(distances, 95),
    )


@pytest.mark.parametrize(
    ("truth", "prediction", "dice"), [(NOTHING, NOTHING, math.nan), (BOX, NOTHING, 0.0), (NOTHING, BOX, 0.0)]
)
def test_empty_masks(truth, prediction, dice):
    found = surface_dice(truth, prediction, spacing_zyx_mm=SPACING, tolerance_mm=100)
    assert found == pytest.approx(dice, nan_ok=True)
    assert math.isnan(hd95_mm(truth, prediction, spacing_zyx_mm=SPACING))
    assert math.isnan(surfel_hd95_mm(truth, prediction, spacing_zyx_mm=SPACING))


def test_arrays_without_voxels():
    nothing = np.zeros((0, 0, 0), bool)
    assert math.isnan(surface_dice(nothing, nothing, spacing_zyx_mm=SPACING, tolerance_mm=1))
    assert math.isnan(hd95_mm(nothing, nothing, spacing_zyx_mm=SPACING))


@pytest.mark.parametrize("seed", range(6))
def test_blobs_score_as_in_the_published_packages(seed):
    rng = np.random.default_rng(seed)
    noise = rng.random((12, 16, 20))
    truth = ndimage.gaussian_filter(noise, 1.5) > 0.52
    prediction = ndimage.gaussian_filter(noise + rng.normal(0, 0.3, noise.shape), 1.5) > 0.53
    spacing = (3.0, 2.04, 2.04)
    options = {"spacing_zyx_mm": spacing}
    for tolerance_mm in (0, 2, 4.5):
        dice, hd95 = oracle(truth, prediction, spacing, tolerance_mm)
        assert 0.05 < dice < 1 or tolerance_mm > 4
        assert surface_dice(truth, prediction, tolerance_mm=tolerance_mm, **options) == pytest.approx(dice)
        assert surfel_hd95_mm(truth, prediction, **options) == pytest.approx(hd95)
    expected = percentile_hausdorff_distance(truth, prediction, voxelspacing=spacing)
    assert expected > 1
    assert hd95_mm(truth, prediction, **options) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(masks=pairs_of_masks())
def test_any_masks_score_as_in_the_published_packages(masks):
    truth, prediction = masks
    options = {"spacing_zyx_mm": SPACING}
    if not truth.any() or not prediction.any():
        return
    dice, hd95 = oracle(truth, prediction, SPACING, 2)
    assert surface_dice(truth, prediction, tolerance_mm=2, **options) == pytest.approx(dice)
    assert hd95_mm(truth, prediction, **options) == pytest.approx(
        percentile_hausdorff_distance(truth, prediction, voxelspacing=SPACING)
    )
    assert surfel_hd95_mm(truth, prediction, **options) == pytest.approx(hd95)


def test_the_two_percentiles_differ():
    """25 border voxels: element int(24 · 0.95) = 22 of their distances. By area, the two far ends are under 5 %."""
    truth = drawn("#" * 25)
    prediction = drawn("#" * 23 + "..")
    assert hd95_mm(truth, prediction, spacing_zyx_mm=(1, 1, 1)) == 0.0
    prediction = drawn("#" * 22 + "...")
    assert hd95_mm(truth, prediction, spacing_zyx_mm=(1, 1, 1)) == 1.0
    assert surfel_hd95_mm(truth, prediction, spacing_zyx_mm=(1, 1, 1)) == 2.0


def test_distances_along_each_axis_are_in_mm():
    for axis, distance in enumerate(SPACING):
        start = [5, 5, 5]
        start[axis] += 1
        shifted = box(SHAPE, start, (1, 1, 1))
        one = box(SHAPE, (5, 5, 5), (1, 1, 1))
        assert hd95_mm(one, shifted, spacing_zyx_mm=SPACING) == distance
        for slack, expected in ((-0.01, 0.5), (0.01, 1.0)):
            found = surface_dice(one, shifted, spacing_zyx_mm=SPACING, tolerance_mm=distance + slack)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("spacing_mm", [1.2, float(np.float32(1.2)), 2.04, 1.1])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_distance_of_the_tolerance_counts_however_the_header_rounds(spacing_mm, steps):
    """NIfTI holds 1.2 as 1.2000000477, and 3 · 1.1 is 3.3000000000000003."""
    one = box((1, 1, 9), (0, 0, 2), (1, 1, 1))
    other = box((1, 1, 9), (0, 0, 2 + steps), (1, 1, 1))
    options = {"spacing_zyx_mm": (spacing_mm, spacing_mm, spacing_mm)}
    assert surface_dice(one, other, tolerance_mm=round(spacing_mm, 3) * steps, **options) == 1.0
    if steps:
        assert surface_dice(one, other, tolerance_mm=0.999 * spacing_mm * steps, **options) < 1.0


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.nan])
def test_impossible_tolerance_is_refused(tolerance_mm):
    with pytest.raises(ValueError, match="tolerance must be 0 mm or more, not"):
        surface_dice(BOX, BOX, spacing_zyx_mm=SPACING, tolerance_mm=tolerance_mm)


def test_border_voxels():
    assert border_voxels(np.ones((3, 3, 3))).sum() == 26
    assert not border_voxels(np.ones((3, 3, 3)))[1, 1, 1]
    assert border_voxels(np.ones((1, 4, 4))).all()  # of one slice
    cross = np.zeros((5, 5, 5), bool)
    for offset in ((0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
        cross[tuple(2 + step for step in offset)] = True
    assert np.argwhere(cross & ~border_voxels(cross)).tolist() == [[2, 2, 2]]  # neighbours at edges do not matter
