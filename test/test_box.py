from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swfastedit_core.box import Box

SIDES = st.tuples(*[st.integers(0, 5)] * 3)
STARTS = st.tuples(*[st.integers(-4, 6)] * 3)
BOXES = st.builds(Box.at, STARTS, SIDES)


def voxels(box):
    """Return the voxels of a box as a set."""
    return set(np.ndindex(*box.shape)) and {
        tuple(np.add(box.start, index).tolist()) for index in np.ndindex(*box.shape)
    }


def test_by_hand():
    box = Box.at((1, -2, 3), (4, 5, 6))
    assert box == Box((1, -2, 3), (5, 3, 9))
    assert box.shape == (4, 5, 6)
    assert box.shifted((1, 1, -3)) == Box((2, -1, 0), (6, 4, 6))
    assert box.relative_to(Box((1, -2, 0), (9, 9, 9))) == Box((0, 0, 3), (4, 5, 9))
    assert box.grown((1, 0, 2)) == Box((0, -2, 1), (6, 3, 11))
    assert box.clipped(Box.whole((4, 4, 4))) == Box((1, 0, 3), (4, 3, 4))
    assert Box.around([box, Box((0, 0, 0), (1, 1, 1))]) == Box((0, -2, 0), (5, 3, 9))


def test_box_before_the_array_is_no_index():
    assert np.zeros((3, 3, 3))[Box((0, 1, 2), (2, 3, 3)).slices].shape == (2, 2, 1)
    with pytest.raises(ValueError, match="clip or shift it first"):
        _ = Box((0, -1, 0), (2, 2, 2)).slices


@given(BOXES, BOXES)
def test_clipped_and_meets_are_those_of_sets_of_voxels(one, other):
    common = voxels(one) & voxels(other)
    assert voxels(one.clipped(other)) == common
    if min(*one.shape, *other.shape) > 0:
        assert one.meets(other) == bool(common)


@given(BOXES, BOXES, STARTS)
def test_shifting_both_changes_nothing_between_them(one, other, offset):
    assert one.shifted(offset).relative_to(other.shifted(offset)) == one.relative_to(other)
