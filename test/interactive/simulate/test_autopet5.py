from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core.clicks import ClickKind
from swfastedit_core.interactive.simulate.autopet5 import draw_scribble
from swfastedit_core.interactive.simulate.scribbles import SCRIBBLES

SHAPE = (6, 20, 30)
EMPTY = np.zeros(SHAPE, np.uint8)


def mask(*blocks):
    array = np.zeros(SHAPE, np.uint8)
    for block in blocks:
        array[block] = 1
    return array


def scribble(label, prediction, strategy="centerline", seed=0):
    return draw_scribble(label, prediction, np.random.default_rng(seed), strategy=strategy)


def test_there_are_three_strategies():
    assert list(SCRIBBLES) == ["centerline", "random", "boundary"]


@pytest.mark.parametrize("strategy", SCRIBBLES)
@pytest.mark.parametrize("seed", range(3))
def test_the_largest_component_of_a_slice_is_scribbled(strategy, seed):
    """The lesion of slices 0 and 1 has more voxels in all; that of slice 4 is larger in one slice."""
    large = np.s_[4, 10:14, 20:26]
    label = mask(np.s_[0:3, 2:5, 2:8], large)
    drawn = scribble(label, EMPTY, strategy, seed)
    assert drawn.kind is ClickKind.TUMOUR
    assert drawn.voxels_zyx.dtype == np.int64
    assert len(drawn.voxels_zyx) > 0
    assert mask(large)[tuple(drawn.voxels_zyx.T)].all()


def test_components_are_8_connected_in_the_slice():
    """Two blocks that touch at a corner are one component of 18 voxels, more than the block of 16."""
    corner = mask(np.s_[3, 2:5, 2:5], np.s_[3, 5:8, 5:8])
    drawn = scribble(corner | mask(np.s_[1, 10:14, 10:14]), EMPTY)
    assert set(drawn.voxels_zyx[:, 0]) == {3}
    apart = mask(np.s_[3, 2:5, 2:5], np.s_[3, 6:9, 5:8])
    drawn = scribble(apart | mask(np.s_[5, 10:14, 10:14]), EMPTY)
    assert set(drawn.voxels_zyx[:, 0]) == {5}


def test_of_equal_components_the_first_is_scribbled():
    label = mask(np.s_[4, 2:5, 2:9], np.s_[2, 2:5, 2:9], np.s_[2, 10:13, 2:9])
    drawn = scribble(label, EMPTY)
    assert set(drawn.voxels_zyx[:, 0]) == {2}
    assert drawn.voxels_zyx[:, 1].max() < 5


def test_the_class_with_the_longer_scribble_is_kept():
    """The missed block has more voxels, but the false line has the longer centre line."""
    block, line = mask(np.s_[1, 2:8, 2:8]), mask(np.s_[3, 10, 2:12])
    drawn = scribble(block, line)
    assert (drawn.kind, len(drawn.voxels_zyx)) == (ClickKind.BACKGROUND, 10)
    drawn = scribble(line, block)
    assert (drawn.kind, len(drawn.voxels_zyx)) == (ClickKind.TUMOUR, 10)


def test_tumour_is_kept_if_both_are_equally_long():
    drawn = scribble(mask(np.s_[1, 2, 2:9]), mask(np.s_[3, 10, 2:9]))
    assert drawn.kind is ClickKind.TUMOUR
    assert drawn.voxels_zyx.tolist() == [[1, 2, x] for x in range(2, 9)]


def test_only_the_errors_are_scribbled():
    label, prediction = mask(np.s_[2, 2:9, 2:9]), mask(np.s_[2, 2:9, 2:6], np.s_[2, 15, 20:22])
    for strategy in SCRIBBLES:
        drawn = scribble(label, prediction, strategy)
        assert (label & ~prediction & 1)[tuple(drawn.voxels_zyx.T)].all()


def test_one_kind_of_error_is_enough():
    region = mask(np.s_[2, 2:4, 2:9])
    assert scribble(region, EMPTY).kind is ClickKind.TUMOUR
    assert scribble(EMPTY, region).kind is ClickKind.BACKGROUND  # and an empty label


@pytest.mark.parametrize("region", [EMPTY, mask(np.s_[2, 2:4, 2:9])])
def test_a_right_prediction_gets_no_scribble(region):
    assert scribble(region, region) is None
