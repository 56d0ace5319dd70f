"""The click at the deepest voxel of the errors, as the usual protocol for the number of clicks (NoC) places it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from swfastedit_core.clicks import ClickKind
from swfastedit_core.interactive.simulate.component import NEIGHBOURS_26, slices_around
from swfastedit_core.interactive.simulate.strategies import error_regions

Voxel = tuple[int, int, int]
NO_CLICKS = np.empty((0, 3), np.int64)


def deepest_click(
    label_zyx: np.ndarray, prediction_zyx: np.ndarray, clicked_zyx: np.ndarray = NO_CLICKS
) -> tuple[ClickKind, Voxel] | None:
    """Return the voxel that is deepest inside the errors of a prediction, and what to mark there.

    Parameters
    ----------
    label_zyx, prediction_zyx
        [Z, Y, X]; voxels that are not 0 are tumour.
    clicked_zyx
        int64 [N, 3], voxels that had a click; they do not get another one.

    Returns
    -------
    tuple or None
        Tumour if the deepest voxel is missed tumour, background if it is predicted wrongly; equally deep: background.
        None if the prediction is right, or all wrong voxels had a click.

    Notes
    -----
    Source: SimpleClick (https://github.com/uncbiag/SimpleClick), isegm/inference/clicker.py, here in three dimensions.
    Depth is the Euclidean distance in voxels to the nearest voxel outside of the error; the outside of the volume
    counts, too. Nothing is random.
    """
    errors = error_regions(label_zyx, prediction_zyx)
    missed, false = (_deepest(error, clicked_zyx) for error in (errors.tumour, errors.background))
    if missed and (not false or missed[0] > false[0]):
        return ClickKind.TUMOUR, missed[1]
    return (ClickKind.BACKGROUND, false[1]) if false else None


def _deepest(error: np.ndarray, clicked: np.ndarray) -> tuple[float, Voxel] | None:
    """Return depth and index of the deepest voxel that had no click; of equal ones the first in the array."""
    around = slices_around(error)
    corner = np.array([side.start for side in around])
    numbers, count = ndimage.label(error[around], structure=NEIGHBOURS_26)
    boxes = ndimage.find_objects(numbers) if count else []
    best: tuple[float, Voxel] | None = None
    for number in sorted(range(count), key=lambda number: -_depth_at_most(boxes[number])):
        box = boxes[number]
        if best and best[0] > _depth_at_most(box):
            break
        depth = ndimage.distance_transform_edt(np.pad(numbers[box] == number + 1, 1))[1:-1, 1:-1, 1:-1]
        start = corner + [side.start for side in box]
        inside = clicked - start
        depth[tuple(inside[((inside >= 0) & (inside < depth.shape)).all(axis=1)].T)] = 0
        z, y, x = (int(side) for side in start + np.unravel_index(depth.argmax(), depth.shape))
        found = float(depth.max()), (z, y, x)
        if found[0] and (best is None or (-found[0], found[1]) < (-best[0], best[1])):
            best = found
    return best


def _depth_at_most(box: tuple[slice, ...]) -> float:
    """Return the largest depth that a component in a box can have."""
    shortest: int = min(side.stop - side.start for side in box)
    return (shortest + 1) / 2
