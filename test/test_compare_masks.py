from __future__ import annotations

import numpy as np
import pytest
from compare_masks import faults

from swfastedit_core import Geometry, Volume, write_mask

EMPTY, FULL = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("expected", "found", "lines"),
    [
        (FULL, FULL, []),
        (EMPTY, EMPTY, []),
        (EMPTY, FULL, ["a.mha: Dice 0.00000, expected at least 0.999"]),
        (FULL, EMPTY, ["a.mha: Dice 0.00000, expected at least 0.999"]),
    ],
)
def test_masks_agree_or_not_empty_ones_included(expected, found, lines, tmp_path):
    for folder, array in (("expected", expected), ("found", found)):
        write_mask(Volume(array, Geometry((4, 3, 2), (1.0, 1.0, 1.0))), tmp_path / folder / "a.mha")
    assert faults(tmp_path / "expected", tmp_path / "found") == lines
