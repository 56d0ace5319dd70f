from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from bench import picture
from swfastedit_core import Geometry, Volume
from swfastedit_core.report.pictures.projection import Mip


def test_air_around_the_body_and_the_lowest_part_are_cut_off():
    pixels = np.zeros((100, 80), np.float32)
    pixels[30:90, 20:50] = 1.0
    (left, right), (low, high) = picture.body_span_mm(Mip(pixels, (5.0, 4.0)))
    assert (left, right) == (80 - picture.MARGIN_MM, 200 + picture.MARGIN_MM)
    assert high == 450 + picture.MARGIN_MM
    bottom = 150 - picture.MARGIN_MM
    assert low == pytest.approx(bottom + picture.LOWEST_PART * (high - bottom))


def test_label_and_mask_are_outlined_in_two_of_three_panels(tmp_path):
    grid = Geometry((60, 50, 120), (5.0, 5.0, 5.0))
    suv = np.ones(grid.shape_zyx, np.float32)
    label, mask = np.zeros((2, *grid.shape_zyx), np.uint8)
    label[90:100, 20:30, 10:20] = mask[60:70, 20:30, 10:20] = 1
    picture.write_picture(*(Volume(array, grid) for array in (suv, label, mask)), tmp_path / "picture.png")
    rgb = matplotlib.image.imread(tmp_path / "picture.png")[..., :3]
    for colour, part in ((0, "mask"), (2, "label")):
        others = [channel for channel in (0, 2) if channel != colour]
        strong = (rgb[..., colour] - rgb[..., others[0]]) > 0.3
        columns = np.flatnonzero(strong.any(axis=0))
        groups = 1 + np.count_nonzero(np.diff(columns) > 40)
        assert groups == 2, part
        assert columns[0] > rgb.shape[1] / 3  # none in the first panel
