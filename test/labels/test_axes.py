"""Flips and permutations of array axes."""

from __future__ import annotations

import numpy as np

from swfastedit_core import Geometry, Volume
from swfastedit_core.labels.axes import Turn, find_turn, turn_volume

ARRAY = np.arange(24).reshape(2, 3, 4)  # x, y, z: 4, 3, 2
AXES = (0, -1, 0, 0, 0, 1, -1, 0, 0)  # x runs to the feet, y to the right, z to the back
GRID = Geometry((4, 3, 2), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), AXES)


def test_turn_names_the_old_axis_and_its_direction_for_each_new_one():
    assert find_turn(GRID) == Turn((1, 2, 0), (True, False, True))
    assert find_turn(Geometry((4, 3, 2), (1.0, 2.0, 3.0))) == Turn((0, 1, 2), (False, False, False))
    assert find_turn(GRID, GRID.axes_lps) == Turn((0, 1, 2), (False, False, False))


def test_turned_voxels_have_the_same_places():
    """L counts y from its end, P counts z, S counts x from its end; L begins 2 × 2 mm, S 3 × 1 mm lower."""
    turned = turn_volume(Volume(ARRAY, GRID), Turn((1, 2, 0), (True, False, True)))
    assert turned.geometry == Geometry((3, 2, 4), (2.0, 3.0, 1.0), (6.0, 20.0, 27.0))
    assert turned.array_zyx.flags.c_contiguous
    for left, back, head in np.ndindex(3, 2, 4):
        assert turned.array_zyx[head, back, left] == ARRAY[back, 2 - left, 3 - head]


def test_axis_that_is_the_closest_to_two_others_gives_no_turn():
    """Of the three cosines with L, P, S, the largest is that of z, x, z."""
    axes = (-0.461, 0.572, -0.679, -0.847, -0.513, 0.143, -0.267, 0.641, 0.720)
    assert find_turn(Geometry((4, 3, 2), (1.0, 1.0, 1.0), direction=axes)) is None
