from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from swfastedit_core import UserError
from swfastedit_core.report.pictures.projection import Mip
from swfastedit_core.train.run import log
from swfastedit_core.train.run.log import plot_curves, plot_projections
from swfastedit_core.train.run.validation import Projection, Score


def red(path):
    """Count the red pixels of a picture."""
    picture = matplotlib.image.imread(path)[..., :3]
    return np.count_nonzero((picture[..., 0] > 0.6) & (picture[..., 1:] < 0.4).all(axis=-1))


def projection(found):
    score = Score("case", 0.1, 1.0, 0.0)
    suv, label, mask = (Mip(pixels, (4.0, 4.0)) for pixels in (np.zeros((20, 12)), np.zeros((20, 12)), found))
    return Projection(score, suv, label, mask, label_ml=0.0, mask_ml=30.0)


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


@pytest.fixture
def figures(monkeypatch):
    """Collect the figures that are saved, instead of writing them."""
    saved = []
    monkeypatch.setattr(log, "save_figure", lambda figure, path, *, dpi: saved.append(figure))
    return saved


def curves(figure):
    """Return the points of each curve, by the curve's name, for each panel."""
    return [{line.get_label(): line.get_xydata().tolist() for line in axes.lines} for axes in figure.axes]


LOSSES = [{"step": "5", "loss": "0.5"}, {"step": "10", "loss": "0.25"}, {"step": "15", "loss": "nan"}]


def test_loss_is_plotted_against_the_steps(figures):
    plot_curves(LOSSES, Path("curves.png"))
    (figure,) = figures
    assert curves(figure) == [{"loss": [[5, 0.5], [10, 0.25]]}]


def test_scores_of_validations_have_panels_of_their_own(figures):
    validated = {"step": "10", "dice": "0.7", "fpv_ml": "6", "fnv_ml": "0", "validated_cases": "2"}
    plot_curves([*LOSSES, validated], Path("curves.png"))
    (figure,) = figures
    loss, scores, volumes = curves(figure)
    assert loss == {"loss": [[5, 0.5], [10, 0.25]]}
    assert scores == {"mean Dice": [[10, 0.7]]}
    assert volumes == {"FPV, ml": [[10, 6]], "FNV, ml": [[10, 0]]}


def test_validations_with_clicks_have_curves_of_their_own(figures):
    validated = {"step": "10", "dice": "0.7", "fpv_ml": "6", "fnv_ml": "0", "validated_cases": "2"}
    clicked = {"clicked_dice": "0.8", "clicked_fpv_ml": "3", "clicked_fnv_ml": "1", "clicks": "10"}
    plot_curves([{**validated, **clicked}], Path("curves.png"))
    (figure,) = figures
    _, scores, volumes = curves(figure)
    assert scores == {"mean Dice, no clicks": [[10, 0.7]], "mean Dice, clicks": [[10, 0.8]]}
    assert volumes == {
        "FPV, ml, no clicks": [[10, 6]],
        "FNV, ml, no clicks": [[10, 0]],
        "FPV, ml, clicks": [[10, 3]],
        "FNV, ml, clicks": [[10, 1]],
    }
    assert [line.get_linestyle() for line in figure.axes[1].lines] == ["-", "--"]


@pytest.mark.parametrize("volume", ["6", "0", "700"])
def test_all_axes_begin_at_0_and_dice_ends_at_1(volume, figures):
    validated = {"step": "10", "dice": "0.7", "fpv_ml": volume, "fnv_ml": "0", "validated_cases": "2"}
    plot_curves([*LOSSES, validated], Path("curves.png"))
    plot_curves(LOSSES, Path("curves.png"))
    of_a_validation, of_losses = figures
    assert [axes.get_xlim() for figure in figures for axes in figure.axes] == [(0, 15)] * 4
    assert [axes.get_ylim()[0] for figure in figures for axes in figure.axes] == [0] * 4
    loss, scores, volumes = of_a_validation.axes
    assert loss.get_ylim()[1] == of_losses.axes[0].get_ylim()[1] >= 0.5
    assert scores.get_ylim() == (0, 1)
    assert volumes.get_ylim()[1] >= max(1, float(volume))
    assert not any(line.get_clip_on() for axes in of_a_validation.axes for line in axes.lines)  # 0 is on the frame


def test_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "curves.png").mkdir()
    with pytest.raises(UserError, match=r"curves\.png: the picture cannot be written"):
        plot_curves(LOSSES, tmp_path / "curves.png")
