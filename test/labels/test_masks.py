"""Label files: which values are those of a mask, and the way to the grid of the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume, write_volume
from swfastedit_core.labels.masks import align, read_label_file, resample_mask

FILE = Path("label.nii.gz")


def written(path, *values):
    """Write a label with these voxels in a row."""
    array = np.array(values, np.int16)[None, None]
    write_volume(Volume(array, Geometry((len(values), 1, 1), (1.0, 1.0, 1.0))), path)
    return path


def test_values_of_a_mask_are_listed_without_0(tmp_path):
    label, values = read_label_file(written(tmp_path / "a.mha", 0, 3, -1, 1, 3))
    assert label.array_zyx.tolist() == [[[0, 3, -1, 1, 3]]]
    assert values == (-1, 1, 3)


def test_values_below_minus_1_are_those_of_an_image(tmp_path):
    with pytest.raises(UserError) as caught:
        read_label_file(written(tmp_path / "a.mha", 0, -1000, -2, 40))
    assert str(caught.value) == (
        f"{tmp_path / 'a.mha'}: the label has values from -1,000 to 40, expected a mask with 0, 1, …; is it an image?"
    )


def test_mask_flipped_along_one_axis_is_flipped_back():
    """The label's voxel 0 is at x = 6 mm, its axis runs to the right: R is -L."""
    flipped = Geometry((4, 2, 1), (2.0, 1.0, 1.0), (6.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    grid = Geometry((4, 2, 1), (2.0, 1.0, 1.0))
    mask = Volume(np.array([[[1, 0, 0, 0], [0, 0, 1, 1]]], np.uint8), flipped)
    aligned = align(mask, grid, FILE)
    assert aligned.geometry == grid
    assert aligned.array_zyx.tolist() == [[[0, 0, 0, 1], [1, 1, 0, 0]]]
    assert aligned.array_zyx.dtype == np.uint8


def test_axes_that_are_nearly_those_of_the_patient_are_turned_as_well():
    """Both are 10 degrees oblique; the label's x and y are the grid's y and x."""
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    grid = Geometry((3, 2, 1), (2.0, 2.0, 1.0), (5.0, 6.0, 7.0), (c, -s, 0, s, c, 0, 0, 0, 1))
    swapped = Geometry((2, 3, 1), (2.0, 2.0, 1.0), (5.0, 6.0, 7.0), (-s, c, 0, c, s, 0, 0, 0, 1))
    mask = Volume(np.array([[[1, 0], [1, 1], [0, 0]]], np.uint8), swapped)
    assert align(mask, grid, FILE).array_zyx.tolist() == [[[1, 1, 0], [0, 1, 0]]]


def on_a_line(values, *, start_mm, turned=False):
    """Bring a label of eight voxels, 1 mm apart from x = 0 on, to six voxels 1 mm apart."""
    direction = (-1, 0, 0, 0, -1, 0, 0, 0, 1) if turned else (1, 0, 0, 0, 1, 0, 0, 0, 1)
    lesions = Volume(np.array(values, np.uint8)[None, None], Geometry((8, 1, 1), (1.0, 1.0, 1.0)))
    grid = Geometry((6, 1, 1), (1.0, 1.0, 1.0), (start_mm, 0.0, 0.0), direction)
    moved = resample_mask(lesions, grid, FILE)
    assert moved.geometry == grid
    assert moved.array_zyx.dtype == np.uint8
    return moved.array_zyx[0, 0].tolist()


def test_label_of_another_grid_is_one_where_at_least_half_of_it_is():
    line = [0, 0, 1, 1, 1, 0, 0, 0]  # from 1.5 to 4.5 mm
    assert on_a_line(line, start_mm=0.0) == [0, 0, 1, 1, 1, 0]
    assert on_a_line(line, start_mm=0.75) == [0, 1, 1, 1, 0, 0]  # at 0.75 mm 0, at 1.75 mm 0.75, …, at 4.75 mm 0.25
    assert on_a_line(line, start_mm=0.5) == [0, 1, 1, 1, 1, 0]


def test_border_of_a_label_runs_between_the_voxels_and_not_along_their_faces():
    """Of a mask's corner, (1, 1) inside, the nearest voxel is inside up to (1.5, 1.5); the border is at 0.5."""
    corner = np.zeros((1, 3, 3), np.uint8)
    corner[0, :2, :2] = 1
    lesions = Volume(corner, Geometry((3, 3, 1), (1.0, 1.0, 1.0)))
    inside = Geometry((2, 1, 1), (1.0, 1.0, 1.0), (1.25, 1.25, 0.0))  # 0.75 × 0.75 = 0.56
    assert resample_mask(lesions, inside, FILE).array_zyx.tolist() == [[[1, 0]]]
    outside = Geometry((2, 1, 1), (1.0, 1.0, 1.0), (0.4, 1.4, 0.0))  # at x = 0.4: 0.6; at x = 1.4: 0.6 × 0.6 = 0.36
    assert resample_mask(lesions, outside, FILE).array_zyx.tolist() == [[[1, 0]]]


def test_label_is_brought_over_by_patient_coordinates():
    assert on_a_line([0, 0, 1, 1, 1, 0, 0, 0], start_mm=5.0, turned=True) == [0, 1, 1, 1, 0, 0]
