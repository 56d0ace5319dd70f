"""Labels on the network's grid, and their lesions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from swfastedit_core.box import Box, Triple, triple
from swfastedit_core.components import label_components
from swfastedit_core.preprocess import Placement, to_network_grid
from swfastedit_core.volume import Volume

THRESHOLD = 0.5  # of the interpolated label: the border stays halfway between the voxels inside and outside
CPU = torch.device("cpu")


def label_on_grid(label: Volume, placement: Placement) -> np.ndarray:
    """Bring a label to the network's grid without losing a lesion.

    Interpolation is linear, with a threshold of one half. A lesion that would vanish, because it is smaller than the
    network's voxels or lies between them, keeps the voxel that it covers most.

    Parameters
    ----------
    label
        0 and 1, [Z, Y, X].
    placement
        The scan's.

    Returns
    -------
    ndarray
        uint8 [X, Y, Z] along R, A, S: 1 in lesions.
    """
    mask = (to_network_grid(label, placement, CPU) >= THRESHOLD).numpy()
    if placement.step != (1.0, 1.0, 1.0):
        turned_only = replace(placement, step=(1.0, 1.0, 1.0), network_shape=placement.ras_shape)
        original = to_network_grid(label, turned_only, CPU).numpy() > 0
        # A lesion that did not vanish is not changed: the voxel that it covers most is in the mask already.
        for box, voxels in find_lesions(original):
            mask[_most_covered(box, voxels, placement)] = True
    return mask.view(np.uint8)


def find_lesions(label: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
    """Yield the 18-connected components of a label.

    Parameters
    ----------
    label
        [X, Y, Z]; voxels that are not 0 are lesion.

    Yields
    ------
    box : Box
        Around the component.
    voxels : ndarray
        int32 [n, 3], all of its voxels in the order of the array.
    """
    around = ndimage.find_objects((label != 0).view(np.uint8), max_label=1)[0]
    if around is None:
        return
    numbered, _ = label_components(label[around])
    corner = np.array([side.start for side in around])
    for number, slices in enumerate(ndimage.find_objects(numbered), start=1):
        start = corner + [side.start for side in slices]
        stop = corner + [side.stop for side in slices]
        voxels = np.argwhere(numbered[slices] == number) + start
        yield Box(triple(start), triple(stop)), voxels.astype(np.int32)


def _most_covered(box: Box, voxels: np.ndarray, placement: Placement) -> Triple:
    """Return the voxel of the network's grid that a lesion covers most.

    Parameters
    ----------
    box, voxels
        The lesion, on the file's grid with axes in R, A, S order.
    placement
        Of the scan.
    """
    lesion = np.zeros(box.shape, np.float32)
    lesion[tuple((voxels - box.start).T)] = 1
    # Linear interpolation uses file voxels within one file voxel of a centre. If the network's voxels are larger, a
    # small lesion can lie between all centres. The second pass therefore uses a distance of one network voxel.
    for reach in ((1.0, 1.0, 1.0), tuple(max(step, 1.0) for step in placement.step)):
        first, weights = zip(*(_weights(axis, box, reach[axis], placement) for axis in range(3)), strict=True)
        coverage = np.einsum("ia,jb,kc,abc->ijk", *weights, lesion, optimize=True)
        if coverage.any():
            break
    inside = np.unravel_index(int(coverage.argmax()), coverage.shape)
    return triple(np.add(first, inside))


def _weights(axis: int, box: Box, reach: float, placement: Placement) -> tuple[int, np.ndarray]:
    """Return the interpolation weights between the network's voxels and those of a box, along one axis.

    Returns
    -------
    first : int
        The first of the network's voxels with a weight.
    weights : ndarray
        float32 [network's voxels from there on, box's voxels]; empty if all weights are 0.
    """
    centres = np.arange(placement.network_shape[axis]) * placement.step[axis]
    centres = np.minimum(centres, placement.ras_shape[axis] - 1)  # positions beyond the last voxel take its value
    near = np.flatnonzero((centres > box.start[axis] - reach) & (centres < box.stop[axis] - 1 + reach))
    distance = np.abs(centres[near, None] - np.arange(box.start[axis], box.stop[axis]))
    return int(near[0]) if near.size else 0, np.maximum(1 - distance / reach, 0).astype(np.float32)
