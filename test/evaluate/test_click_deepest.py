"""The deepest voxel of the errors."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_masks import box
from scipy import ndimage

from swfastedit_core.clicks import ClickKind
from swfastedit_core.evaluate.clicks.deepest import deepest_click

NOTHING = np.zeros((9, 10, 11), bool)
SHAPE = NOTHING.shape


def test_the_middle_of_the_thickest_error():
    label = box(SHAPE, (1, 1, 1), (3, 3, 3)) | box(SHAPE, (2, 5, 3), (5, 5, 5))
    assert deepest_click(label, NOTHING) == (ClickKind.TUMOUR, (4, 7, 5))
    assert deepest_click(NOTHING, label) == (ClickKind.BACKGROUND, (4, 7, 5))


def test_the_kind_of_the_deeper_error_is_clicked_and_background_if_they_are_equally_deep():
    large, small = box(SHAPE, (1, 1, 1), (5, 5, 5)), box(SHAPE, (1, 7, 7), (3, 3, 3))
    assert deepest_click(large, small)[0] is ClickKind.TUMOUR
    assert deepest_click(small, large)[0] is ClickKind.BACKGROUND
    other = box(SHAPE, (6, 1, 7), (3, 3, 3))
    assert deepest_click(small, other) == (ClickKind.BACKGROUND, (7, 2, 8))


def test_voxels_that_had_a_click_are_left_out():
    label = box(SHAPE, (2, 2, 2), (3, 3, 3))
    assert deepest_click(label, NOTHING, np.array([[3, 3, 3]])) == (ClickKind.TUMOUR, (2, 2, 2))
    one = box(SHAPE, (2, 2, 2), (1, 1, 1))
    assert deepest_click(one, NOTHING, np.array([[2, 2, 2]])) is None
    assert deepest_click(one | box(SHAPE, (8, 9, 10), (1, 1, 1)), NOTHING, np.array([[2, 2, 2], [0, 0, 0]])) == (
        ClickKind.TUMOUR,
        (8, 9, 10),
    )


def test_the_outside_of_the_volume_is_outside_of_the_error():
    label = box(SHAPE, (0, 0, 0), (3, 10, 11))  # three slices at the border
    kind, voxel = deepest_click(label, NOTHING)
    assert (kind, voxel[0]) == (ClickKind.TUMOUR, 1)
    everything = np.ones((3, 3, 3), bool)
    assert deepest_click(everything, ~everything) == (ClickKind.TUMOUR, (1, 1, 1))


def test_a_right_prediction_gets_no_click():
    label = box(SHAPE, (2, 2, 2), (3, 3, 3))
    assert deepest_click(label, label) is None
    assert deepest_click(NOTHING, NOTHING) is None


@pytest.mark.parametrize("seed", range(8))
def test_the_depth_is_that_of_a_distance_transform_of_the_whole_volume(seed):
    rng = np.random.default_rng(seed)
    label = ndimage.binary_opening(ndimage.gaussian_filter(rng.normal(size=(20, 22, 24)), 1) > 0.05)
    depth = ndimage.distance_transform_edt(np.pad(label, 1))[1:-1, 1:-1, 1:-1]
    _, voxel = deepest_click(label, np.zeros_like(label))
    assert voxel == np.unravel_index(depth.argmax(), depth.shape)  # of equal ones the first


def test_thousands_of_thin_errors_need_no_distances(monkeypatch):
    """A distance transform for each of 60,000 single voxels takes half a minute."""
    label = np.zeros((60, 60, 60), bool)
    label[::2, ::2, ::2] = True
    label[28:34, :, 38:] = False
    label[30:32, :, 40:] = True  # two voxels thin
    monkeypatch.setattr(ndimage, "distance_transform_edt", None)
    clicked = np.array([[0, 0, 0], [0, 0, 2]])
    assert deepest_click(label, np.zeros_like(label), clicked) == (ClickKind.TUMOUR, (0, 0, 4))


@pytest.mark.parametrize("seed", range(20))
def test_thin_and_thick_errors_with_clicks_are_as_in_the_whole_volume(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    error = rng.random(shape) < rng.choice([0.1, 0.5, 0.95])
    clicked = rng.integers(0, shape, (int(rng.integers(4)), 3))
    depth = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1, 1:-1]
    depth[tuple(clicked.T)] = 0
    found = deepest_click(error, np.zeros_like(error), clicked)
    expected = (ClickKind.TUMOUR, np.unravel_index(depth.argmax(), shape)) if depth.any() else None
    assert found == expected
