from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.strategies import (
    STRATEGIES,
    corrective,
    deepgrow,
    error_regions,
    non_corrective,
    patch_corrective,
)

DRAWS = pytest.mark.parametrize("draws", [2000, pytest.param(10_000, marks=pytest.mark.long)])


def drawn(*rows):
    """Turn two drawings side by side into label and prediction, of one slice: [1, Y, X]."""
    sides = [row.split() for row in rows]
    return tuple(np.array([[[char == "#" for char in side[number]] for side in sides]]) for number in (0, 1))


# Label and prediction: 5 false negatives (x < 4), 3 false positives (x > 4), 2 true positives.
LABEL, PREDICTION = drawn(
    "###.....  ........",
    "####....  ..##.##.",
    "........  ......#.",
)


def voxels(mask):
    return [tuple(voxel) for voxel in np.argwhere(mask).tolist()]


def clicks_of(strategy, label=LABEL, prediction=PREDICTION, *, count, **settings):
    """Count how often each voxel is clicked; None for no click."""
    rng = np.random.default_rng(11)
    counts = Counter(), Counter()
    for _ in range(count):
        new = strategy(label, prediction, rng, **settings)
        for counter, voxel in zip(counts, (new.tumour, new.background), strict=True):
            counter[None if voxel is None else tuple(voxel.tolist())] += 1
    return counts


def assert_uniform(counts, mask):
    assert set(counts) <= set(voxels(mask))
    assert chisquare([counts[voxel] for voxel in voxels(mask)]).pvalue > 0.01


def test_false_negatives_are_tumour_errors_and_false_positives_background_errors():
    errors = error_regions(LABEL.astype(np.uint8) * 2, PREDICTION.astype(np.float32))
    assert voxels(errors.tumour) == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1)]
    assert voxels(errors.background) == [(0, 1, 5), (0, 1, 6), (0, 2, 6)]


@DRAWS
def test_corrective_clicks_are_uniform_in_the_errors(draws):
    tumour, background = clicks_of(corrective, count=draws)
    assert_uniform(tumour, LABEL & ~PREDICTION)
    assert_uniform(background, PREDICTION & ~LABEL)


@DRAWS
def test_non_corrective_clicks_are_uniform_in_label_and_background_whatever_the_prediction_is(draws):
    tumour, background = clicks_of(non_corrective, count=draws)
    assert_uniform(tumour, LABEL)
    assert_uniform(background, ~LABEL)
    assert clicks_of(non_corrective, prediction=~PREDICTION, count=50) == clicks_of(non_corrective, count=50)
    assert clicks_of(non_corrective, draw="distance", count=50) == clicks_of(non_corrective, count=50)


@DRAWS
def test_deepgrow_clicks_in_a_part_of_the_rounds_only(draws):
    tumour, background = clicks_of(deepgrow, probability=0.3, count=draws)
    assert tumour[None] == background[None]
    assert chisquare([tumour.pop(None), sum(tumour.values())], [draws * 0.7, draws * 0.3]).pvalue > 0.01
    background.pop(None)
    assert_uniform(tumour, LABEL & ~PREDICTION)
    assert_uniform(background, PREDICTION & ~LABEL)
    assert clicks_of(deepgrow, probability=0.0, count=20)[0] == {None: 20}
    assert None not in clicks_of(deepgrow, probability=1.0, count=20)[0]


# Two tiles of 4³ voxels beside each other.     Dice of tumour     Dice of background
# Left: 1 false negative, 3 false positives.    2·3/(4+6) = 0.60   2·9/(12+10) = 0.82
# Right: 3 false negatives, 1 false positive.   2·2/(5+3) = 0.50   2·10/(11+13) = 0.83
TILED = drawn(
    "##...###  #.....#.",
    "##....##  ##....#.",
    "........  ###.....",
    "........  ....#...",
)


def test_patch_corrective_clicks_in_the_worst_tile_of_each_class():
    label, prediction = TILED
    tumour, background = clicks_of(patch_corrective, label, prediction, tile=4, count=500)
    assert_uniform(tumour, label & ~prediction & (np.arange(8) >= 4))
    assert_uniform(background, ~label & prediction & (np.arange(8) < 4))


def test_patch_corrective_of_one_tile_is_corrective():
    assert clicks_of(patch_corrective, count=50) == clicks_of(corrective, count=50)
    tumour, _ = clicks_of(patch_corrective, *TILED, count=500)
    assert_uniform(tumour, TILED[0] & ~TILED[1])


def test_a_tile_with_false_positives_alone_blocks_no_tumour_click():
    """Its Dice loss of tumour is 1, larger than that of the other tile."""
    label, prediction = drawn("####....  ###...##")
    tumour, background = clicks_of(patch_corrective, label, prediction, tile=4, count=20)
    assert tumour == {(0, 0, 3): 20}
    assert set(background) == {(0, 0, 6), (0, 0, 7)}


def test_tiles_at_the_end_are_smaller():
    label, prediction = drawn("####.#  ####..")
    tumour, background = clicks_of(patch_corrective, label, prediction, tile=4, count=5)
    assert (tumour, background) == ({(0, 0, 5): 5}, {None: 5})


@pytest.mark.parametrize("name", ["corrective", "patch-corrective", "deepgrow"])
def test_draw_by_distance_prefers_the_middle(name):
    label = np.zeros((9, 9, 9), bool)
    label[1:8, 1:8, 1:8] = True  # depths 1 to 4: the centre is drawn 31 times as often as a voxel of the border
    rng = np.random.default_rng(2)
    new = [STRATEGIES[name](label, np.zeros_like(label), rng, draw="distance") for _ in range(200)]
    depths = [4 - np.abs(clicks.tumour - 4).max() for clicks in new if clicks.tumour is not None]
    total = np.array([218, 98, 26, 1]) * (np.exp([1, 2, 3, 4]) - 1)
    assert np.mean(depths) == pytest.approx((total * [1, 2, 3, 4]).sum() / total.sum(), abs=0.25)  # uniform: 1.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_tensors_give_the_same_clicks_as_arrays(name):
    tensors = torch.from_numpy(LABEL).to(torch.uint8), torch.from_numpy(PREDICTION).float()
    assert clicks_of(STRATEGIES[name], *tensors, count=20) == clicks_of(STRATEGIES[name], count=20)


@pytest.mark.parametrize("name", STRATEGIES)
def test_axes_keep_their_order(name):
    label = np.zeros((4, 5, 6), bool)
    label[3, 0, 2] = True
    tumour, _ = clicks_of(STRATEGIES[name], label, np.zeros_like(label), count=20)
    assert set(tumour) - {None} == {(3, 0, 2)}


@pytest.mark.parametrize("name", ["corrective", "patch-corrective", "deepgrow"])
def test_no_click_where_there_is_no_error(name):
    assert clicks_of(STRATEGIES[name], LABEL, LABEL, count=10) == ({None: 10}, {None: 10})
    empty = np.zeros_like(LABEL)
    assert clicks_of(STRATEGIES[name], empty, LABEL, count=20)[0] == {None: 20}
    assert clicks_of(STRATEGIES[name], LABEL, empty, count=20)[1] == {None: 20}


def test_non_corrective_needs_tumour_for_a_tumour_click_and_background_for_the_other():
    empty = np.zeros_like(LABEL)
    assert clicks_of(non_corrective, empty, empty, count=10)[0] == {None: 10}
    assert clicks_of(non_corrective, ~empty, empty, count=10)[1] == {None: 10}
