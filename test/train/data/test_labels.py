from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from swfastedit_core import Geometry, Volume
from swfastedit_core.box import Box
from swfastedit_core.preprocess import place, to_network_grid
from swfastedit_core.train.data.labels import find_lesions, label_on_grid

CPU = torch.device("cpu")
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # array axes along R, A, S: nothing is turned


def dots(shape_xyz, spacing_mm, *voxels_xyz):
    """Make a label of single voxels, its axes along R, A, S."""
    grid = Geometry(shape_xyz, spacing_mm, direction=RAS)
    label = np.zeros(grid.shape_zyx, np.uint8)
    for x, y, z in voxels_xyz:
        label[z, y, x] = 1
    return Volume(label, grid)


def found(label, spacing_mm):
    return np.argwhere(label_on_grid(label, place(label.geometry, spacing_mm))).tolist()


def test_lesion_smaller_than_half_covered_voxels_keeps_the_most_covered():
    """From 4 to 3 mm: centres at 0, 0.75, 1.5, 2.25, 3 file voxels. Voxel 1 gives 0.75³ = 0.42 to the second."""
    label = dots((8, 8, 8), (4.0, 4.0, 4.0), (1, 1, 1))
    placement = place(label.geometry, (3.0, 3.0, 3.0))
    assert to_network_grid(label, placement, CPU).max() == pytest.approx(0.421875)
    assert found(label, (3.0, 3.0, 3.0)) == [[1, 1, 1]]


def test_lesions_between_the_networks_voxels_keep_the_nearest():
    """From 1 to 3 mm: centres at file voxels 0, 3, 6, 9. Voxels 1 and 5 are between them."""
    label = dots((10, 10, 10), (1.0, 1.0, 1.0), (1, 1, 1), (5, 5, 8), (9, 9, 0))
    assert found(label, (3.0, 3.0, 3.0)) == [[0, 0, 0], [2, 2, 3], [3, 3, 0]]


def test_each_vanishing_lesion_keeps_its_own_voxel():
    """Neighbours with one voxel between them, of which a joint search would keep the same voxel twice."""
    label = dots((8, 8, 8), (4.0, 4.0, 4.0), (1, 1, 1), (3, 1, 2), (5, 5, 5))
    # Voxel 3 is the centre of network voxel 4; along z, 2 is 0.25 from voxel 3 and 0.5 from 2: 1 × 0.75 × 0.75 = 0.56
    # is kept by the threshold. Voxel 5 is 0.25 from both 7 (5.25) and 0.5 from 6 (4.5): 0.75³.
    assert found(label, (3.0, 3.0, 3.0)) == [[1, 1, 1], [4, 1, 3], [7, 7, 7]]


def test_lesions_that_are_left_are_not_changed():
    rng = np.random.default_rng(0)
    centres = [(8, 8, 8), (20, 20, 9), (9, 22, 24)]
    z, y, x = np.indices((32, 32, 32))
    array = np.zeros((32, 32, 32), np.uint8)
    for centre in centres:
        array |= sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)) < 20 + rng.integers(10)
    label = Volume(array, Geometry((32, 32, 32), (4.07, 4.07, 3.0), direction=(0, 1, 0, -1, 0, 0, 0, 0, 1)))
    placement = place(label.geometry, (3.3, 5.0, 2.4))
    plain = (to_network_grid(label, placement, CPU) >= 0.5).numpy()
    mask = label_on_grid(label, placement)
    np.testing.assert_array_equal(mask, plain)
    assert mask.dtype == np.uint8
    assert len(list(find_lesions(mask))) == 3
    millilitres = array.sum() * 4.07 * 4.07 * 3.0
    assert mask.sum() * 3.3 * 5.0 * 2.4 == pytest.approx(millilitres, rel=0.06)


def test_vanishing_lesion_is_kept_where_the_file_has_it():
    """A voxel 1, 2 and 5 mm along R, A, S in files of all kinds; the network's at 0, 4, 8 and 0, 5, 8 and 0, 8 mm."""
    for along in permutations(range(3)):  # the patient's axis of each of the file's
        for signs_lps in product((1, -1), repeat=3):
            direction = np.zeros((3, 3))
            direction[along, (0, 1, 2)] = signs_lps
            to_ras = [sign * (-1, -1, 1)[axis] for axis, sign in zip(along, signs_lps, strict=True)]
            places = [(1, 2, 5)[axis] for axis in along]
            x, y, z = (mm if sign > 0 else 8 - mm for mm, sign in zip(places, to_ras, strict=True))
            array = np.zeros((9, 9, 9), np.uint8)
            array[z, y, x] = 1
            label = Volume(array, Geometry((9, 9, 9), (1.0, 1.0, 1.0), direction=tuple(direction.ravel())))
            assert found(label, (4.0, 5.0, 8.0)) == [[0, 0, 1]]


def test_nothing_is_found_in_an_empty_label():
    assert found(dots((8, 8, 8), (4.0, 4.0, 4.0)), (3.0, 3.0, 3.0)) == []
    assert list(find_lesions(np.zeros((5, 5, 5), np.uint8))) == []


def test_lesions_are_connected_over_edges_but_not_over_corners():
    label = np.zeros((9, 9, 9), np.uint8)
    label[2, 2, 2] = label[3, 3, 2] = 1  # share an edge
    label[4, 4, 3] = 1  # shares a corner with the second
    (box, voxels), (other, dot) = find_lesions(label)
    assert (box, voxels.tolist()) == (Box((2, 2, 2), (4, 4, 3)), [[2, 2, 2], [3, 3, 2]])
    assert (other, dot.tolist()) == (Box((4, 4, 3), (5, 5, 4)), [[4, 4, 3]])
