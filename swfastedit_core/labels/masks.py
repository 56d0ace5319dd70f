"""Masks and labels in files: their values, and the way to the grid of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.files.read import read_label
from swfastedit_core.labels.axes import find_turn, turn_volume
from swfastedit_core.resample import resample
from swfastedit_core.volume import Geometry, Volume

SAME_GRID_MM = 0.1  # tolerance for the corners of equal grids: headers are rounded
WHOLE = 1e-3  # tolerance for whole label values: some are stored with a scale factor
LOWEST = -1  # some labels have it where nothing is known; lower values are those of an image
MAX_LABEL_VALUES = 1000  # in one file; a CT that is named as a label has more


def read_label_file(path: Path, *, form: Form = "auto", what: str = "label") -> tuple[Volume, tuple[int, ...]]:
    """Read a label, or another mask, as it is in the file, float32; return it and its values except 0.

    Parameters
    ----------
    path, form, what
        As `read_label`.

    Raises
    ------
    UserError
        As `read_label`, and if the values are not those of a mask: not whole, below -1, or more than 1,000 different
        ones.
    """
    label = read_label(path, form=form, what=what)
    marked = label.array_zyx[label.array_zyx != 0]
    broken = marked[np.abs(marked - np.rint(marked)) > WHOLE]
    if broken.size:
        raise UserError(
            f"{path}: {broken.size:,} voxels of the {what} are not integers, such as {broken[0]:g}; expected a mask "
            "with 0, 1, … (not probabilities, not a linearly resampled mask)"
        )
    values = [int(value) for value in np.unique(np.rint(marked)) if value]
    if values and values[0] < LOWEST:
        raise UserError(
            f"{path}: the {what} has values from {values[0]:,} to {values[-1]:,}, expected a mask with 0, 1, …; is it "
            "an image?"
        )
    if len(values) > MAX_LABEL_VALUES:
        raise UserError(f"{path}: {len(values):,} different values in the {what}, expected a few; is it a scan?")
    return label, tuple(values)


def select_lesions(values: np.ndarray, lesion_labels: Sequence[int]) -> np.ndarray:
    """Return uint8: 1 where the label value is a lesion value (none given: above 0), 0 elsewhere."""
    if not lesion_labels:
        return (values > 0.5).astype(np.uint8)
    lesions = np.zeros(values.shape, bool)
    for wanted in lesion_labels:
        lesions |= np.abs(values - wanted) < 0.5
    return lesions.astype(np.uint8)


def align(mask: Volume, grid: Geometry, path: Path, *, what: str = "label", of: str = "scan") -> Volume:
    """Bring a mask to a grid whose voxels are at the same places, by flips and a permutation of its axes.

    Parameters
    ----------
    mask
        uint8 [Z, Y, X].
    grid
        Grid of the scan.
    path, what, of
        File of the mask, what the mask is, and whose the grid is, for the message.

    Raises
    ------
    UserError
        If the voxels are at other places.
    """
    turn = find_turn(mask.geometry, grid.axes_lps)
    if turn is not None:
        turned = turn_volume(mask, turn)
        same_size = turned.geometry.size_xyz == grid.size_xyz
        if same_size and np.abs(turned.geometry.corners_mm - grid.corners_mm).max() <= SAME_GRID_MM:
            return Volume(turned.array_zyx, grid)
    raise UserError(
        f"{path}: the {what}'s grid, {_in_words(mask.geometry)}, is not that of the {of}, {_in_words(grid)}"
    )


def resample_mask(mask: Volume, grid: Geometry, path: Path) -> Volume:
    """Resample a label as `interpolate_mask`, and check that a lesion is left.

    Parameters
    ----------
    mask, grid, path
        As `align`.

    Raises
    ------
    UserError
        If the mask has a lesion and none is left on the grid.
    """
    resampled = interpolate_mask(mask, grid)
    if mask.array_zyx.any() and not resampled.array_zyx.any():
        raise UserError(
            f"{path}: the label has no lesion inside the scan; label: {_in_words(mask.geometry)}; scan: "
            f"{_in_words(grid)}; check that both are of the same patient"
        )
    return resampled


def interpolate_mask(mask: Volume, grid: Geometry) -> Volume:
    """Resample a mask of 0 and 1 linearly; voxels of 0.5 or more become 1.

    Linear interpolation gives a smooth border; nearest-neighbour interpolation gives steps. The mask holds 0 and 1, not
    label values: the mean of the labels 0 and 2 would be label 1. All lesions are resampled together. Separately, two
    touching lesions would get a gap between them.

    Parameters
    ----------
    mask
        uint8 [Z, Y, X].
    grid
        Grid of any geometry; 0 outside of the mask's grid.
    """
    return Volume((resample(mask, grid, outside=0.0).array_zyx >= 0.5).astype(np.uint8), grid)


def _in_words(grid: Geometry) -> str:
    """Describe a grid for a message."""
    size, spacing_mm = "×".join(map(str, grid.size_xyz)), "×".join(f"{mm:.4g}" for mm in grid.spacing_mm)
    origin_mm = ", ".join(f"{mm:.2f}" for mm in grid.origin_mm)
    axes = ", ".join(f"{round(cosine, 3) + 0.0:g}" for cosine in grid.direction)  # + 0.0: no -0
    return f"{size} voxels of {spacing_mm} mm from ({origin_mm}) along ({axes})"
