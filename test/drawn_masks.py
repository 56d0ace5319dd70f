"""Masks of the tests of metrics: drawn by hand, boxes, and random ones."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def drawn(*rows):
    """Turn rows of '#' and '.' into a mask of one slice."""
    return np.array([[[char == "#" for char in row] for row in rows]])


def box(shape, start, sides):
    """Return a mask with one block of voxels."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, first + side) for first, side in zip(start, sides, strict=True))] = True
    return mask


@st.composite
def pairs_of_masks(draw):
    """Two masks of one shape, which may be empty, full, or anything between."""
    shape = draw(array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
    return draw(arrays(bool, shape)), draw(arrays(bool, shape))
