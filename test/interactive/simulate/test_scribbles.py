from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.scribbles import SCRIBBLES, _farthest_pair, boundary, centerline, random_line


def drawn(*rows):
    return np.array([[char == "#" for char in row] for row in rows])


def region(*blocks, shape=(30, 40)):
    array = np.zeros(shape, bool)
    for block in blocks:
        array[block] = True
    return array


def voxels_of(strategy, mask, seed=0):
    voxels = strategy(mask, np.random.default_rng(seed))
    assert voxels.dtype == np.int64
    assert mask[tuple(voxels.T)].all()
    return [tuple(voxel) for voxel in voxels.tolist()]


def are_a_path(voxels):
    return len(set(voxels)) == len(voxels) and all(
        max(abs(y1 - y0), abs(x1 - x0)) == 1 for (y0, x0), (y1, x1) in pairwise(voxels)
    )


@pytest.mark.parametrize("strategy", SCRIBBLES.values())
def test_scribbles_lie_in_regions_of_any_shape(strategy):
    rng = np.random.default_rng(0)
    for _ in range(20):
        numbers, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(30, 30)), 2) > 0.1, np.ones((3, 3)))
        mask = numbers == np.bincount(numbers.ravel())[1:].argmax() + 1
        assert voxels_of(strategy, mask)


@pytest.mark.parametrize("strategy", SCRIBBLES.values())
def test_a_region_of_one_voxel_is_its_scribble(strategy):
    assert voxels_of(strategy, region(np.s_[3, 4])) == [(3, 4)]


def test_centre_line_of_a_short_bar_is_whole():
    assert voxels_of(centerline, region(np.s_[5, 10:20])) == [(5, x) for x in range(10, 20)]


def test_a_tenth_is_cut_off_each_end_of_a_centre_line_of_more_than_ten_voxels():
    assert voxels_of(centerline, region(np.s_[5, 10:21])) == [(5, x) for x in range(11, 19)]  # 1 to int(9.9) of 11
    assert voxels_of(centerline, region(np.s_[5, 10:40])) == [(5, x) for x in range(13, 37)]


def test_centre_line_runs_in_the_middle_and_along_the_longest_path():
    """A wide bar with a short branch: the line goes from end to end and does not enter the branch."""
    line = voxels_of(centerline, region(np.s_[10:15, 2:34], np.s_[15:21, 16:19]))
    assert are_a_path(line)
    assert {y for y, _ in line} <= {11, 12, 13}
    assert len(line) > 20


def test_centre_line_of_a_ring_follows_it():
    y, x = np.indices((30, 40))
    radius = np.hypot(y - 15, x - 20)
    line = voxels_of(centerline, (radius < 11) & (radius > 6))
    assert are_a_path(line)
    distances = [np.hypot(y - 15, x - 20) for y, x in line]
    assert min(distances) > 7
    assert len(line) > 15  # 80 % of half of its circumference


def test_centre_line_of_noise_needs_little_memory():
    """Its skeleton has thousands of voxels; all pairs of them would be gigabytes."""
    numbers, _ = ndimage.label(np.random.default_rng(0).random((400, 400)) < 0.55, np.ones((3, 3)))
    mask = numbers == np.bincount(numbers.ravel())[1:].argmax() + 1
    tracemalloc.start()
    line = voxels_of(centerline, mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert are_a_path(line)
    assert len(line) > 300
    assert peak < 200e6


def test_farthest_voxels_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    for density in (0.02, 0.1, 0.5):
        voxels = np.argwhere(rng.random((30, 40)) < density)
        first, second = np.unravel_index(cdist(voxels, voxels).argmax(), (len(voxels),) * 2)
        assert _farthest_pair(voxels) == (first, second)


def test_a_region_without_a_skeleton_is_taken_whole():
    assert voxels_of(centerline, region(np.s_[3:5, 4:6])) == [(3, 4), (3, 5), (4, 4), (4, 5)]
    assert len(voxels_of(centerline, drawn(".#.", "###", ".#."))) == 5


def test_random_lines_are_straight():
    mask = region(np.s_[2:25, 3:35])
    for seed in range(20):
        line = voxels_of(random_line, mask, seed)
        assert are_a_path(line)
        (y0, x0), (y1, x1) = line[0], line[-1]
        length = max(abs(y1 - y0), abs(x1 - x0))
        assert len(line) == length + 1
        for step, (y, x) in enumerate(line):
            assert abs(y - (y0 + (y1 - y0) * step / max(length, 1))) <= 0.5
            assert abs(x - (x0 + (x1 - x0) * step / max(length, 1))) <= 0.5


def test_random_lines_leave_out_what_is_outside():
    mask = drawn("##......##", "##########")
    lines = [voxels_of(random_line, mask, seed) for seed in range(200)]
    assert [(0, 1), (0, 8)] in [line[-2:] for line in lines] or any(
        (0, 1) in line and (0, 8) in line and (0, 5) not in line for line in lines
    )


@pytest.mark.parametrize("draws", [2000, pytest.param(10_000, marks=pytest.mark.long)])
def test_ends_of_random_lines_are_uniform(draws):
    mask = region(np.s_[5, 10:15])  # both ends are one of five: the lengths 1 to 5 have 5, 8, 6, 4, 2 of 25 pairs
    rng = np.random.default_rng(0)
    lengths = Counter(len(random_line(mask, rng)) for _ in range(draws))
    assert chisquare([lengths[length] for length in range(1, 6)], draws * np.array([5, 8, 6, 4, 2]) / 25).pvalue > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_boundary_walks_along_a_fifth_of_the_border(seed):
    mask = region(np.s_[5:15, 10:20])  # 36 voxels at the border: 7 steps
    walk = voxels_of(boundary, mask, seed)
    assert are_a_path(walk)
    assert len(walk) <= 8
    assert all(y in (5, 14) or x in (10, 19) for y, x in walk)


def test_boundary_walks_all_steps_unless_it_meets_itself():
    mask = region(np.s_[5:15, 10:20])
    lengths = [len(voxels_of(boundary, mask, seed)) for seed in range(30)]
    assert max(lengths) == 8
    assert np.mean(np.array(lengths) == 8) > 0.7


def test_border_of_the_image_is_no_border_of_the_region():
    mask = region(np.s_[0:6, 0:40])  # only row 5 is beside other voxels
    assert {y for seed in range(20) for y, _ in voxels_of(boundary, mask, seed)} == {5}


def test_boundary_of_a_small_region_has_two_steps_where_there_is_room():
    walks = {tuple(voxels_of(boundary, region(np.s_[3, 4:7]), seed)) for seed in range(30)}
    assert walks == {((3, 4), (3, 5), (3, 6)), ((3, 5), (3, 4)), ((3, 6), (3, 5), (3, 4))}
