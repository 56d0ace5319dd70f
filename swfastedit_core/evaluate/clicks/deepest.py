"""The click at the deepest voxel of the errors, as the usual protocol for the number of clicks (NoC) places it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from swfastedit_core.clicks import ClickKind
from swfastedit_core.interactive.simulate.component import NEIGHBOURS_26, slices_around
from swfastedit_core.interactive.simulate.strategies import error_regions

Voxel = tuple[int, int, int]
THICK = 2.0  # depth in voxels that a component can have from a thickness of three voxels on
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
    """Return depth and index of the deepest voxel that had no click; of equal ones the first in the array.

    A component that is at most two voxels thin has a depth of 1 everywhere. There can be thousands of them, and no
    distances are computed for them.
    """
    around = slices_around(error)
    corner = np.array([side.start for side in around])
    numbers, count = ndimage.label(error[around], structure=NEIGHBOURS_26)
    boxes = ndimage.find_objects(numbers) if count else []
    thick = [number for number in range(count) if _depth_at_most(boxes[number]) >= THICK]
    best: tuple[float, Voxel] | None = None
    for number in sorted(thick, key=lambda number: -_depth_at_most(boxes[number])):
        box = boxes[number]
        if best and best[0] > _depth_at_most(box):
            break
        depth = ndimage.distance_transform_edt(np.pad(numbers[box] == number + 1, 1))[1:-1, 1:-1, 1:-1]
        start = corner + [side.start for side in box]
        depth[_inside(clicked - start, depth.shape)] = 0
        found = float(depth.max()), _voxel(start, depth)
        if best is None or (-found[0], found[1]) < (-best[0], best[1]):
            best = found
    if best and best[0] > 1:
        return best
    left = error[around]
    left[_inside(clicked - corner, left.shape)] = False
    return (1.0, _voxel(corner, left)) if left.any() else None


def _inside(voxels: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return the voxels [N, 3] that lie inside a shape, as an index of an array."""
    return tuple(voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)].T)


def _voxel(start: np.ndarray, values: np.ndarray) -> Voxel:
    """Return the index in the volume of the first largest value of an array that starts at a voxel."""
    z, y, x = (int(side) for side in start + np.unravel_index(values.argmax(), values.shape))
    return z, y, x


def _depth_at_most(box: tuple[slice, ...]) -> float:
    """Return the largest depth that a component in a box can have."""
    shortest: int = min(side.stop - side.start for side in box)
    return (shortest + 1) / 2
