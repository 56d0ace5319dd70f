from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.autopet4 import (
    BUDGET,
    SEED,
    autopet4_clicks,
    click_components,
    hot_background,
)
from swfastedit_core.interactive.simulate.component import Components

SHAPE = (12, 40, 60)  # 28,800 voxels: the hottest 72 are above the percentile
BLOCKS = [np.s_[1:4, 1:4, 1:4], np.s_[1:6, 8:13, 2:7], np.s_[4:7, 18:21, 20:23]]  # sides 3, 5, 3
CENTRES = [(2, 2, 2), (3, 10, 4), (5, 19, 21)]
HOT_BLOCKS = [np.s_[1:4, 1:4, 10:13], np.s_[5:8, 12:15, 25:28]]  # 54 voxels
HOT_CENTRES = [(2, 2, 11), (6, 13, 26)]


def mask(*blocks):
    array = np.zeros(SHAPE, np.uint8)
    for block in blocks:
        array[block] = 1
    return array


def scan(label, *hot):
    """Return a PET with SUV 9 in tumours, 5 in other hot blocks and 1 elsewhere."""
    suv = np.ones(SHAPE, np.float32)
    suv[label != 0] = 9
    for block in hot:
        suv[block] = 5
    return suv


def simulated(label, *hot, seed=SEED, **settings):
    clicks = autopet4_clicks(label, scan(label, *hot), np.random.default_rng(seed), **settings)
    return [tuple(click) for click in clicks.tumour.tolist()], [tuple(click) for click in clicks.background.tolist()]


def block_of(click, blocks):
    return next(number for number, block in enumerate(blocks) if mask(block)[click])


def is_at_border(click, block):
    return any(index in (side.start, side.stop - 1) for index, side in zip(click, block, strict=True))


def test_challenge_gives_ten_clicks_of_each_kind_with_seed_42():
    assert (BUDGET, SEED) == (10, 42)
    tumour, background = simulated(mask(*BLOCKS), *HOT_BLOCKS)
    assert (len(tumour), len(background)) == (10, 10)


@pytest.mark.parametrize("seed", range(5))
def test_centres_come_first_and_border_voxels_in_turns_after_them(seed):
    tumour, background = simulated(mask(*BLOCKS), *HOT_BLOCKS, seed=seed)
    for clicks, blocks, centres in ((tumour, BLOCKS, CENTRES), (background, HOT_BLOCKS, HOT_CENTRES)):
        count = len(blocks)
        assert sorted(clicks[:count]) == centres
        numbers = [block_of(click, blocks) for click in clicks]
        assert numbers == [numbers[turn % count] for turn in range(10)]
        later = zip(clicks[count:], numbers[count:], strict=True)
        assert all(is_at_border(click, blocks[number]) for click, number in later)


def test_of_more_components_than_clicks_ten_get_one_each():
    blocks = [np.s_[2:5, y : y + 3, x : x + 3] for y in range(1, 40, 10) for x in range(1, 60, 20)]
    tumour, _ = simulated(mask(*blocks))
    numbers = [block_of(click, blocks) for click in tumour]
    assert len(set(numbers)) == len(tumour) == 10
    assert not any(is_at_border(click, blocks[number]) for click, number in zip(tumour, numbers, strict=True))
    assert numbers != sorted(numbers)


def test_components_are_26_connected():
    tumour, _ = simulated(mask(np.s_[2:5, 2:5, 2:5], np.s_[5:8, 5:8, 5:8]), budget=1000)
    assert sum(click in ((3, 3, 3), (6, 6, 6)) for click in tumour) == 1  # one centre: the first of two equal ones


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 17])
def test_budget_is_spent_exactly(budget):
    tumour, background = simulated(mask(*BLOCKS), *HOT_BLOCKS, budget=budget)
    assert (len(tumour), len(background)) == (budget, budget)


def test_a_component_of_one_voxel_is_clicked_again_and_again():
    tumour, _ = simulated(mask(np.s_[5, 6, 7]))
    assert tumour == [(5, 6, 7)] * 10


def test_empty_label_gets_background_clicks_only():
    tumour, background = simulated(mask(), *HOT_BLOCKS)
    assert tumour == []
    assert sorted(background[:2]) == HOT_CENTRES
    assert len(background) == 10
    clicks = autopet4_clicks(mask(), scan(mask()), np.random.default_rng(0))
    assert (clicks.tumour.shape, clicks.tumour.dtype) == ((0, 3), np.int64)


def test_no_background_click_without_a_hot_voxel():
    assert simulated(mask(*BLOCKS))[1] == []
    assert simulated(mask(np.s_[:]))[1] == []  # all is tumour


def test_hot_background_is_above_the_percentile_of_the_voxels_outside_of_tumours():
    rng = np.random.default_rng(0)
    suv = rng.permutation(20_000).reshape(20, 25, 40).astype(np.float32)
    is_tumour = suv >= 16_000  # 16,000 voxels outside; the percentile lies between their 40th and 41st from above
    hot = hot_background(is_tumour, suv)
    assert sorted(suv[hot]) == list(range(15_960, 16_000))


def test_clicks_repeat_with_the_seed_and_change_without():
    assert simulated(mask(*BLOCKS), *HOT_BLOCKS) == simulated(mask(*BLOCKS), *HOT_BLOCKS)
    assert simulated(mask(*BLOCKS), *HOT_BLOCKS) != simulated(mask(*BLOCKS), *HOT_BLOCKS, seed=43)


def test_offsets_stay_in_the_class_and_reach_their_limit():
    label = mask(*BLOCKS, np.s_[11, 39, 59])  # and the last voxel of the volume
    plain, moved = (simulated(label, *HOT_BLOCKS, budget=400, max_offset=limit) for limit in (0, 2))
    for before, after, allowed in zip(plain, moved, (label == 1, label == 0), strict=True):
        steps = np.array(after) - before
        assert (steps.min(), steps.max()) == (0, 2)
        assert all(allowed[click] for click in after)
        assert 50 < (steps != 0).any(axis=1).sum() < 390
    assert [click for click in moved[0] if click > (8, 0, 0)] == [(11, 39, 59)] * 100


def test_background_may_move_off_the_hot_voxels_but_not_into_tumour():
    label = mask(np.s_[1:4, 1:4, 13:16])  # beside the first hot block
    _, background = simulated(label, *HOT_BLOCKS, budget=200, max_offset=3)
    hot = mask(*HOT_BLOCKS)
    assert sum(not hot[click] for click in background) > 50
    assert not any(label[click] for click in background)


def test_components_and_border_voxels_are_drawn_uniformly():
    blocks = [np.s_[1:3, 1 + 4 * row : 3 + 4 * row, 5:7] for row in range(6)]
    components = Components(mask(*blocks) != 0)
    rng = np.random.default_rng(3)
    first = Counter(int(click_components(components, rng, budget=1)[0, 1]) // 4 for _ in range(600))
    assert chisquare([first[row] for row in range(6)]).pvalue > 0.01
    border = Counter(tuple(click) for click in click_components(components, rng, budget=6 + 4000)[6:].tolist())
    assert len(border) == 48  # each block has 8 voxels, all at its border
    assert chisquare(list(border.values())).pvalue > 0.01
