from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.crop_clicks import crop_clicks

SHAPE = (20, 24, 28)
BLOCKS = [np.s_[2:9, 3:10, 4:11], np.s_[12:17, 15:20, 20:25]]  # sides 7 and 5
CENTRES = [(5, 6, 7), (14, 17, 22)]


def label(*blocks):
    array = np.zeros(SHAPE, np.uint8)
    for block in blocks:
        array[block] = 1
    return array


def scan(seed=0):
    """Return a PET between 0 and 1, 0 in the padding (x < 2)."""
    suv = np.random.default_rng(seed).uniform(0.1, 1, SHAPE).astype(np.float32)
    suv[:2] = 0
    return suv


def clicks_of(mask, suv=None, seed=0, tumour=10, background=10, **settings):
    suv = scan() if suv is None else suv
    clicks = crop_clicks(mask, suv, np.random.default_rng(seed), tumour=tumour, background=background, **settings)
    for array in (clicks.tumour, clicks.background):
        assert (array.dtype, array.shape[1:]) == (np.int64, (3,))
    return [tuple(click) for click in clicks.tumour.tolist()], [tuple(click) for click in clicks.background.tolist()]


@pytest.mark.parametrize("noisy", [0.0, 1.0])
@pytest.mark.parametrize("max_offset", [0, 3])
@pytest.mark.parametrize(("tumour", "background"), [(10, 10), (0, 3), (1, 0), (0, 0), (7, 2)])
def test_numbers_and_classes_of_clicks(noisy, max_offset, tumour, background):
    mask = label(*BLOCKS)
    at_tumour, at_background = clicks_of(mask, tumour=tumour, background=background, noisy=noisy, max_offset=max_offset)
    assert (len(at_tumour), len(at_background)) == (tumour, background)
    assert all(mask[click] == 1 for click in at_tumour)
    assert all(mask[click] == 0 for click in at_background)


def test_ordinary_clicks_are_those_of_the_challenge():
    suv = scan()
    suv[18, 4, 4], suv[10, 22, 3] = 3, 2
    tumour, background = clicks_of(label(*BLOCKS), suv, noisy=0.0, max_offset=0, background=30)
    assert sorted(tumour[:2]) == CENTRES
    for turn, (x, y, z) in enumerate(tumour):
        block = BLOCKS[CENTRES.index(tumour[turn % 2])]
        assert all(side.start <= index < side.stop for index, side in zip((x, y, z), block, strict=True))
    # 12,936 voxels outside of tumours: 33 are at or above the percentile, so 30 of their components get a click each
    ranks = np.sort(suv[label(*BLOCKS) == 0])[::-1]
    assert all(suv[click] >= ranks[33] for click in background)
    assert len(set(background)) > 25


def test_offsets_go_both_ways_up_to_the_limit():
    mask = label(np.s_[3:18, 4:19, 5:20])  # the centre is 7 voxels from the border: all offsets stay inside
    moved = np.array([clicks_of(mask, seed=seed, tumour=1, background=0, noisy=0.0)[0][0] for seed in range(140)])
    counts = [np.bincount(axis, minlength=7) for axis in (moved - [10, 11, 12] + 3).T]
    assert chisquare(np.ravel(counts)).pvalue > 0.01
    assert np.shape(counts) == (3, 7)


def test_background_clicks_do_not_move_into_tumour():
    mask = 1 - label(np.s_[10])  # background is a sheet
    plain, moved = (clicks_of(mask, tumour=0, background=40, noisy=0.0, max_offset=limit)[1] for limit in (0, 3))
    assert {x for x, _, _ in moved} == {10}
    assert sum(before != after for before, after in zip(plain, moved, strict=True)) > 20


def test_a_click_that_cannot_move_stays():
    assert clicks_of(label(np.s_[5, 6, 7]), noisy=0.0)[0] == [(5, 6, 7)] * 10


SLAB = np.s_[5, 2:22, 3:23]  # 400 voxels, all at distance 1: an ordinary first click is at the first voxel


def test_noise_decides_between_equally_deep_voxels():
    tumour, _ = clicks_of(label(SLAB), tumour=4000, noisy=1.0, max_offset=0)
    counts = np.zeros(SHAPE)
    np.add.at(counts, tuple(np.array(tumour).T), 1)
    assert counts[SLAB].sum() == 4000
    assert chisquare(counts[SLAB].ravel()).pvalue > 0.01


def test_noisy_clicks_take_turns_and_stay_in_the_outer_voxels_after_the_first():
    tumour, _ = clicks_of(label(*BLOCKS), tumour=400, noisy=1.0, max_offset=0)
    in_first = [click[0] < 11 for click in tumour]
    assert in_first == [in_first[0], not in_first[0]] * 200
    assert CENTRES[0] not in tumour[2:]  # its depth is 4 voxels
    assert len(set(tumour[2:])) > 50


@pytest.mark.parametrize(
    ("noisy", "crops", "low", "high"), [(0.0, 20, 0, 0), (0.2, 200, 0.13, 0.27), (1.0, 20, 0.95, 1)]
)
def test_a_part_of_the_crops_is_noisy(noisy, crops, low, high):
    first = [
        clicks_of(label(SLAB), seed=seed, tumour=1, background=0, noisy=noisy, max_offset=0)[0][0]
        for seed in range(crops)
    ]
    assert low <= np.mean([click != (5, 2, 3) for click in first]) <= high


def test_noisy_background_is_drawn_by_its_uptake():
    suv = np.full(SHAPE, 0.5, np.float32)
    suv[0, 0, 0] = 0
    suv[10:13, 2:12, 2:12] = np.arange(1, 301).reshape(3, 10, 10)  # 300 of 13,440 voxels are hot: the limit is 32.2
    hot = suv > 300 - 0.02 * (suv.size - 1)
    _, background = clicks_of(label(), suv, tumour=0, background=10_000, noisy=1.0)
    counts = np.zeros(SHAPE)
    np.add.at(counts, tuple(np.array(background).T), 1)
    assert counts[~hot].sum() == 0
    assert chisquare(counts[hot], 10_000 * suv[hot] / suv[hot].sum()).pvalue > 0.01


@pytest.mark.parametrize("noisy", [0.0, 1.0])
def test_no_tumour_click_in_an_empty_label(noisy):
    tumour, background = clicks_of(label(), noisy=noisy)
    assert (len(tumour), len(background)) == (0, 10)


@pytest.mark.parametrize("noisy", [0.0, 1.0])
def test_no_background_click_if_all_is_tumour_or_the_crop_is_flat(noisy):
    assert clicks_of(label(np.s_[:]), noisy=noisy)[1] == []
    assert clicks_of(label(*BLOCKS), np.zeros(SHAPE, np.float32), noisy=noisy)[1] == []


@pytest.mark.parametrize("noisy", [0.0, 1.0])
def test_saturated_voxels_are_hot_and_padding_is_not(noisy):
    """Scaled PET is cut off at 1: many voxels have the largest value. In an almost empty crop, 0 is the percentile."""
    suv = np.minimum(scan() * 3, 1)
    assert len(clicks_of(label(), suv, noisy=noisy, max_offset=0)[1]) == 10
    sparse = np.zeros(SHAPE, np.float32)
    sparse[10, 11, 12] = 0.3
    assert clicks_of(label(), sparse, noisy=noisy, max_offset=0)[1] == [(10, 11, 12)] * 10


def test_clicks_repeat_with_the_generator():
    assert clicks_of(label(*BLOCKS), seed=3) == clicks_of(label(*BLOCKS), seed=3)
    assert clicks_of(label(*BLOCKS), seed=3) != clicks_of(label(*BLOCKS), seed=4)
