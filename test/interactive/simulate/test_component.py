from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from swfastedit_core.interactive.simulate.component import Components, depth_of, slices_around


def block(shape, *boxes):
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


@pytest.mark.parametrize(
    ("second", "count"), [((1, 1, 1), 1), ((0, 1, 1), 1), ((0, 0, 1), 1), ((2, 0, 0), 2), ((0, 2, 1), 2)]
)
def test_voxels_that_share_a_corner_are_one_component(second, count):
    mask = block((3, 3, 3), (0, 0, 0), second)
    assert len(Components(mask)) == count


def test_components_are_cut_out_with_a_margin_inside_the_volume():
    mask = block((6, 9, 12), np.s_[0:2, 3:5, 10:12], np.s_[4, 7, 2])
    first, second = Components(mask)
    assert first.slices == np.s_[0:3, 2:6, 9:12]
    assert second.slices == np.s_[3:6, 6:9, 1:4]
    assert first.mask.tolist() == mask[first.slices].tolist()
    assert np.argwhere(second.mask).tolist() == [[1, 1, 1]]
    assert second.in_volume(np.array([[1, 1, 1], [0, 0, 0]])).tolist() == [[4, 7, 2], [3, 6, 1]]


def test_a_component_in_the_box_of_another_is_left_out():
    ring = block((1, 7, 7), np.s_[0, 1:6, 1:6]) & ~block((1, 7, 7), np.s_[0, 2:5, 2:5])
    ring[0, 3, 3] = True
    around, inside = Components(ring)
    assert (around.mask.sum(), inside.mask.sum()) == (16, 1)


def test_deepest_voxel_and_border_of_a_block():
    component = Components(block((9, 9, 9), np.s_[2:7, 1:6, 3:8]))[0]
    assert component.deepest.tolist() == [4, 3, 5]
    assert component.depth.max() == 3
    border = component.border
    assert len(border) == 5**3 - 3**3
    assert (np.abs(border - [4, 3, 5]).max(axis=1) == 2).all()


def test_of_equally_deep_voxels_the_first_is_taken():
    assert Components(block((3, 3, 8), np.s_[1, 1, 2:6]))[0].deepest.tolist() == [1, 1, 2]


def test_depth_is_that_in_the_whole_volume():
    mask = np.random.default_rng(0).random((12, 14, 16)) < 0.2
    whole = ndimage.distance_transform_edt(mask).astype(np.float32)
    components = Components(mask)
    assert sum(int(component.mask.sum()) for component in components) == mask.sum()
    for component in components:
        np.testing.assert_array_equal(component.depth[component.mask], whole[component.slices][component.mask])


def test_empty_mask_has_no_component():
    assert list(Components(np.zeros((2, 3, 4), bool))) == []
    assert slices_around(np.zeros((2, 3, 4), bool)) == np.s_[0:0, 0:0, 0:0]


def test_a_full_array_is_as_deep_as_its_border_is_far():
    assert depth_of(np.ones((3, 3, 5), bool))[1].tolist() == [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
