from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate import draw as draw_module
from swfastedit_core.interactive.simulate.distance import distance_to_border
from swfastedit_core.interactive.simulate.draw import draw_voxel, draw_voxels

DRAWS = pytest.mark.parametrize("draws", [3000, pytest.param(10_000, marks=pytest.mark.long)])
# A block of 5³ voxels: 98 at distance 1, 26 at distance 2, its centre at distance 3; and a single voxel.
REGION = np.zeros((7, 8, 12), bool)
REGION[1:6, 2:7, 1:6] = True
REGION[3, 3, 10] = True
DISTANCE = np.zeros(REGION.shape)
DISTANCE[1:6, 2:7, 1:6] = 1
DISTANCE[2:5, 3:6, 2:5] = 2
DISTANCE[3, 4, 3] = 3
DISTANCE[3, 3, 10] = 1


@cache
def counts_of(draw, draws):
    rng = np.random.default_rng(23)
    return Counter(tuple(draw_voxel(REGION, rng, draw=draw).tolist()) for _ in range(draws))


def p_value(draw, draws, weights):
    """Compare the frequencies of many draws with weights of the voxels of the region."""
    counts = counts_of(draw, draws)
    voxels = [tuple(voxel) for voxel in np.argwhere(REGION).tolist()]
    assert set(counts) <= set(voxels)
    weights = weights[REGION]
    return chisquare([counts[voxel] for voxel in voxels], draws * weights / weights.sum()).pvalue


@DRAWS
def test_uniform_draws_take_all_voxels_equally_often(draws):
    assert p_value("uniform", draws, np.ones(REGION.shape)) > 0.01


@DRAWS
def test_distance_draws_follow_exp_of_the_distance_minus_1(draws, monkeypatch):
    measured = distance_to_border(REGION)  # once: it takes most of the time
    monkeypatch.setattr(draw_module, "distance_to_border", lambda region: measured)
    assert p_value("distance", draws, np.exp(DISTANCE) - 1) > 0.01


def test_a_chi_squared_test_tells_the_two_apart():
    assert p_value("uniform", 3000, np.exp(DISTANCE) - 1) < 1e-6


def test_large_distances_do_not_overflow():
    region = np.ones((1, 1, 2001), bool)
    region[0, 0, 0] = False  # distances are 1 to 2000; exp(2000) is no number
    rng = np.random.default_rng(0)
    with np.errstate(over="raise", invalid="raise"):
        x = np.array([draw_voxel(region, rng, draw="distance")[2] for _ in range(200)])
    assert np.mean(x == 2000) == pytest.approx(1 - np.exp(-1), abs=0.09)
    assert x.min() > 1980


@pytest.mark.parametrize("draw", ["uniform", "distance"])
def test_index_is_in_the_order_of_the_axes(draw):
    region = np.zeros((3, 4, 5), np.uint8)
    region[2, 0, 3] = 7
    voxel = draw_voxel(region, np.random.default_rng(0), draw=draw)
    assert (voxel.tolist(), voxel.dtype) == ([2, 0, 3], np.int64)


@pytest.mark.parametrize("draw", ["uniform", "distance"])
def test_empty_region_has_no_voxel(draw):
    rng = np.random.default_rng(0)
    assert draw_voxel(np.zeros((3, 4, 5), bool), rng, draw=draw) is None
    assert draw_voxel(torch.zeros(3, 4, 5), rng, draw=draw) is None


@pytest.mark.parametrize("draw", ["uniform", "distance"])
def test_a_tensor_gives_the_same_voxels_as_its_array(draw):
    def drawn(region):
        rng = np.random.default_rng(1)
        return [draw_voxel(region, rng, draw=draw).tolist() for _ in range(20)]

    assert drawn(torch.from_numpy(REGION)) == drawn(REGION)


@pytest.mark.parametrize("draw", ["uniform", "distance"])
def test_several_voxels_are_those_of_several_draws_and_measure_the_distance_once(draw, monkeypatch):
    rng = np.random.default_rng(4)
    one_by_one = [draw_voxel(REGION, rng, draw=draw).tolist() for _ in range(10)]
    measured = []
    monkeypatch.setattr(draw_module, "distance_to_border", lambda mask: measured.append(1) or distance_to_border(mask))
    assert draw_voxels(REGION, np.random.default_rng(4), count=10, draw=draw).tolist() == one_by_one
    assert len(measured) == (draw == "distance")
    for region, count in ((np.zeros((3, 4, 5), bool), 10), (REGION, 0)):
        assert draw_voxels(region, rng, count=count, draw=draw).shape == (0, 3)
