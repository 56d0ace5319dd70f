from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from swfastedit_core.train.run.log import plot_curves, plot_projections
from swfastedit_core.train.run.validation import Projection, Score


def red(path):
    """Count the red pixels of a picture."""
    picture = matplotlib.image.imread(path)[..., :3]
    return np.count_nonzero((picture[..., 0] > 0.6) & (picture[..., 1:] < 0.4).all(axis=-1))


def projection(found):
    score = Score("case", 0.1, 1.0, 0.0)
    truth = np.zeros((20, 12), bool)
    return Projection(score, np.zeros((20, 12), np.float32), truth, found, 0.0, 30.0, (4.0, 4.0))


def test_mask_that_fills_the_view_is_outlined(tmp_path):
    none, small, everywhere = (np.zeros((20, 12), bool) for _ in range(3))
    small[8:12, 4:8] = True
    everywhere[...] = True
    counts = []
    for number, found in enumerate((none, small, everywhere)):
        path = tmp_path / f"{number}.png"
        plot_projections([projection(found)], path)
        counts.append(red(path))
    assert counts[0] == 0
    assert counts[2] > counts[1] > 20


@pytest.mark.parametrize("validated", ["", "2"])
def test_curves_have_panels_for_what_there_is(validated, tmp_path):
    row = {"step": "5", "loss": "0.5", "dice": "0.7", "fpv_ml": "6", "fnv_ml": "0", "validated_cases": validated}
    plot_curves([row], tmp_path / "curves.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "curves.png").shape
    assert (width / height > 3) == bool(validated)
