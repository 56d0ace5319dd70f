from __future__ import annotations

import sys

import matplotlib.image
import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume
from swfastedit_core.report.pictures.plots import new_figure, save_figure
from swfastedit_core.report.pictures.projection import Mip, mip, plot_mip

# [Z, Y, X] along S, P, L: values rise towards the head, the back and the patient's left.
ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
IDENTITY = Geometry((4, 3, 2), (2.0, 3.0, 5.0))


def reoriented(axes: tuple[int, int, int], flipped: tuple[int, ...]) -> Volume:
    """Store `ARRAY` with other array axes: file axis i runs along patient axis axes[i], against it where flipped."""
    array = np.flip(ARRAY.transpose(2, 1, 0).transpose(axes), flipped).transpose(2, 1, 0)
    direction = np.zeros((3, 3))
    for file_axis, patient_axis in enumerate(axes):
        direction[patient_axis, file_axis] = -1 if file_axis in flipped else 1
    spacing_mm = tuple(IDENTITY.spacing_mm[axis] for axis in axes)
    size_xyz = tuple(IDENTITY.size_xyz[axis] for axis in axes)
    return Volume(array, Geometry(size_xyz, spacing_mm, direction=tuple(direction.ravel().tolist())))


@pytest.mark.parametrize(
    ("axes", "flipped"), [((0, 1, 2), ()), ((0, 1, 2), (0, 2)), ((2, 0, 1), (1,)), ((1, 2, 0), (0, 1, 2))]
)
def test_projection_shows_the_patient_whatever_the_axes_of_the_file(axes, flipped):
    volume = reoriented(axes, flipped)
    coronal = mip(volume)
    assert coronal.pixels.tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]  # feet first, the patient's right first
    assert coronal.pixel_mm == (5.0, 2.0)
    sagittal = mip(volume, plane="sagittal")
    assert sagittal.pixels.tolist() == [[3, 7, 11], [15, 19, 23]]  # the front first
    assert sagittal.pixel_mm == (5.0, 3.0)


def test_oblique_grid_is_projected_along_its_closest_axis():
    cosine, sine = np.cos(0.3), np.sin(0.3)  # turned about z by 17 degrees
    direction = (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)
    assert mip(Volume(ARRAY, Geometry((4, 3, 2), (2.0, 3.0, 5.0), direction=direction))).pixels.tolist() == [
        [8, 9, 10, 11],
        [20, 21, 22, 23],
    ]


def plotted(tmp_path, suv: Mip, outlines=()) -> np.ndarray:
    """Return the RGB picture of a projection that fills a figure of 200 × 100 pixels."""
    figure, (axes,) = new_figure(1, 1, size_inches=(2.0, 1.0))
    plot_mip(axes, suv, outlines=outlines)
    save_figure(figure, tmp_path / "new" / "mip.png", dpi=100)
    return matplotlib.image.imread(tmp_path / "new" / "mip.png")[..., :3]


def test_suv_is_plotted_from_white_to_black_in_true_proportions(tmp_path):
    """Two rows of 10 mm, four columns of 5 mm: a square. The lower row is black, the upper one half as dark."""
    picture = plotted(tmp_path, Mip(np.array([[7.0, 7, 7, 9], [3.5, 3.5, 3.5, 3.5]]), (10.0, 5.0)))
    black, grey = picture.max(axis=-1) < 0.02, np.abs(picture - 0.5).max(axis=-1) < 0.05
    rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert width == pytest.approx(2 * height, abs=2)
    assert np.flatnonzero(grey.any(axis=1))[-1] <= rows[0]  # row 0 is plotted at the bottom
    assert grey.sum() == pytest.approx(black.sum(), rel=0.1)


def test_outline_runs_around_the_mask(tmp_path):
    """A mask of 4 × 4 of 10 × 20 pixels is outlined in its colour, and its inside stays free."""
    mask = np.zeros((10, 20), bool)
    mask[3:7, 8:12] = True
    picture = plotted(tmp_path, Mip(np.zeros((10, 20)), (1.0, 1.0)), [(mask, "#d62728"), (~mask & mask, "#1f77b4")])
    red = (picture[..., 0] > 0.6) & (picture[..., 1:] < 0.6).all(axis=-1)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    middle = red[rows[0] + 8 : rows[-1] - 7, columns[0] + 8 : columns[-1] - 7]
    assert middle.size > 100
    assert not middle.any()
    assert red.sum() > 4 * 20
    assert not ((picture[..., 2] > 0.6) & (picture[..., 0] < 0.4)).any()  # nothing of the empty mask


def test_mask_at_the_border_is_outlined_there(tmp_path):
    picture = plotted(tmp_path, Mip(np.zeros((10, 20)), (1.0, 1.0)), [(np.ones((10, 20), np.uint8), "#d62728")])
    red = (picture[..., 0] > 0.6) & (picture[..., 1:] < 0.6).all(axis=-1)
    (top, *_, bottom), (left, *_, right) = (np.flatnonzero(red.any(axis=axis)) for axis in (1, 0))
    assert right - left == pytest.approx(2 * (bottom - top), abs=3)
    assert red[:, left].sum() > 0.8 * (bottom - top)


def test_missing_matplotlib_and_unwritable_file_are_named(tmp_path, monkeypatch):
    figure, _ = new_figure(1, 1, size_inches=(1.0, 1.0))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"mip\.png: .*"):
        save_figure(figure, tmp_path / "file" / "mip.png", dpi=50)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="needs matplotlib: pip install matplotlib"):
        new_figure(1, 1, size_inches=(1.0, 1.0))
