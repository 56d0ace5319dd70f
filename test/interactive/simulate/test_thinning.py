from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from swfastedit_core.interactive.simulate.thinning import skeletonise


def drawn(*rows):
    return np.array([[char == "#" for char in row] for row in rows])


def shown(mask):
    return ["".join(".#"[int(voxel)] for voxel in row) for row in mask]


def test_a_bar_becomes_its_middle_line():
    assert shown(skeletonise(np.ones((3, 9), bool))) == [".........", "#######..", "........."]
    assert shown(skeletonise(np.ones((5, 9), bool)))[1:4] == [".........", ".#####...", "........."]


def test_an_angle_keeps_both_arms():
    angle = drawn("###.....", "###.....", "###.....", "###.....", "########", "########", "########")
    skeleton = skeletonise(angle)
    assert skeleton[:, 1].sum() >= 4  # the upright arm
    assert skeleton[5].sum() >= 4  # the other one
    assert skeleton.sum() <= 12


@pytest.mark.parametrize("rows", [["#"], ["##"], ["#", "#"], ["#..", ".#.", "..#"], ["#...#", ".#.#.", "..#.."]])
def test_a_line_stays(rows):
    assert shown(skeletonise(drawn(*rows))) == rows


def test_a_diagonal_two_voxels_wide_keeps_its_length():
    """The original limit of two neighbours would leave almost nothing of it."""
    diagonal = np.eye(12, dtype=bool) | np.eye(12, k=1, dtype=bool)
    assert skeletonise(diagonal).any(axis=1).sum() >= 11


def test_skeletons_are_thin_and_connected_as_their_regions():
    rng = np.random.default_rng(0)
    for sigma in (1.5, 2.0, 3.0):
        for _ in range(5):
            field = ndimage.gaussian_filter(rng.normal(size=(40, 50)), sigma)
            region = ndimage.binary_opening(field > 0.4 * field.std(), np.ones((3, 3)))
            skeleton = skeletonise(region)
            assert not (skeleton & ~region).any()
            count = ndimage.label(region, np.ones((3, 3)))[1]
            assert ndimage.label(skeleton, np.ones((3, 3)))[1] == count
            assert not ndimage.binary_erosion(skeleton, np.ones((3, 3))).any()
            assert np.array_equal(skeletonise(skeleton), skeleton)


def test_the_region_is_left_as_it_is_and_may_be_empty():
    region = np.ones((5, 7), bool)
    skeletonise(region)
    assert region.all()
    assert not skeletonise(np.zeros((5, 7), bool)).any()
