"""Which windows to run, and how they are weighted: the body, the plan, the Gaussian.

A plan is plain integers made before anything runs; it can be printed, counted and tested without a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from swfastedit_core.box import Box, Triple, triple
from swfastedit_core.errors import UserError

SIGMA_SCALE = 0.125  # of the window's side, as in MONAI and nnU-Net
MIN_WEIGHT = 1e-3  # MONAI's floor of the Gaussian
STRETCH = 0.25  # of a step, which an axis of the body plan may be longer than its steps

# The body. Means over cells of about 8 mm are robust against noise. Tissue has an SUV above 0.1 there, air and
# table far less; the threshold sinks with the image's own scale so that cold or differently scaled scans are not cut.
CELL_MM = 8.0
TISSUE_SUV = 0.1
TISSUE_OF_PEAK = 0.02  # share of the 99.9th percentile
BODY_PEAK = 3.0  # times the threshold: what a component of some size must reach somewhere
BODY_ML = 30.0  # and that size
HOT_PEAK = 10.0  # times the threshold: this hot, a component of any size belongs to the region
MARGIN_MM = 8.0


@dataclass(frozen=True, eq=False)
class Body:
    """Where the patient is, coarsely.

    Attributes
    ----------
    cells
        bool [X, Y, Z], True where a cell belongs to the patient; at least one does.
    cell
        Sides of a cell in voxels.
    margin
        Voxels to add around the patient along x, y, z.
    shape
        Voxels of the image.
    """

    cells: np.ndarray
    cell: Triple
    margin: Triple
    shape: Triple

    def box(self, z_start: int, z_stop: int) -> Box | None:
        """Return the box around the patient between two z positions in voxels; None if none of it is there."""
        first, last = max(z_start, 0) // self.cell[2], -(-min(z_stop, self.shape[2]) // self.cell[2])
        index = np.argwhere(self.cells[:, :, first:last])
        if not len(index):
            return None
        index[:, 2] += first
        start = np.maximum(index.min(axis=0) * self.cell - np.array(self.margin), 0)
        stop = np.minimum((index.max(axis=0) + 1) * self.cell + np.array(self.margin), self.shape)
        return Box(triple(start), triple(stop))


@dataclass(frozen=True)
class WindowPlan:
    """The windows of one image.

    All positions count voxels of the padded image along x, y, z.

    Attributes
    ----------
    window
        Sides of every window.
    padding
        Zeros to put before and after the image along each axis, where it is smaller than the window.
    region
        The box around all windows. Some of it may be covered by no window.
    starts
        First voxel of each window, in the order in which they run (x slowest).
    """

    window: Triple
    padding: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    region: Box
    starts: tuple[Triple, ...]

    @property
    def image_box(self) -> Box:
        """The region without padding, in voxels of the image as it was."""
        start, stop = [], []
        for axis in range(3):
            before, after = self.padding[axis]
            start.append(max(self.region.start[axis] - before, 0))
            stop.append(self.region.stop[axis] - before - after)
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def plan_windows(image: Triple, *, window: Triple, overlap: float, body: Body | None = None) -> WindowPlan:
    """Lay windows over an image, or over the patient in it.

    Without a body the positions are those of MONAI's ``sliding_window_inference``: steps of
    ``int(window * (1 - overlap))``, the last window of each axis moved back to end with the image. With a body
    windows are spread evenly along z over the body's extent, and at each z position along x and y over the extent
    that the body has there: a leaning patient, arms and a head at the edge of the field cost windows where they are
    only. Neighbours may then lie up to a quarter of a step further apart, where that saves a window.

    Parameters
    ----------
    image
        Shape [X, Y, Z] of the image.
    window
        Sides of a window. A smaller image is padded symmetrically.
    overlap
        Share of a window's side that neighbours have in common, 0 ≤ overlap < 1.
    body
        Where the patient is; None covers the whole image.

    Returns
    -------
    WindowPlan
        At least one window.

    Raises
    ------
    UserError
        If the overlap is out of range.
    """
    if not 0.0 <= overlap < 1.0:
        raise UserError(f"overlap {overlap}, expected 0 or more and less than 1")
    missing = [max(side - length, 0) for side, length in zip(window, image, strict=True)]
    padding = [(m // 2, m - m // 2) for m in missing]
    padded = triple([length + m for length, m in zip(image, missing, strict=True)])
    starts: list[Triple] = []
    if body is None:
        along = [_offsets(0, padded[axis], window[axis], overlap) for axis in range(3)]
        starts = [triple(start) for start in product(*along)]
    else:
        everything = body.box(0, image[2])
        low, high = _grown(everything, 2, window, padded, padding)
        for z in _spread(low, high, window[2], overlap):
            here = body.box(z - padding[2][0], z - padding[2][0] + window[2])
            if here is not None:
                x_and_y = (
                    _spread(*_grown(here, axis, window, padded, padding), window[axis], overlap) for axis in (0, 1)
                )
                starts += [(x, y, z) for x, y in product(*x_and_y)]
        starts.sort()
    corner = np.array(starts)
    region = Box(triple(corner.min(axis=0)), triple(corner.max(axis=0) + window))
    return WindowPlan(window, (padding[0], padding[1], padding[2]), region, tuple(starts))


def gaussian_weights(window: Triple) -> Tensor:
    """Weight of each voxel of a window when windows are blended: exactly MONAI's Gaussian importance map.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] in [0.001, 1].
    """
    weights = torch.ones(())
    for side in window:
        distance = torch.arange(-(side - 1) / 2.0, (side - 1) / 2.0 + 1, dtype=torch.float32)
        profile = torch.exp(distance**2 / (-2 * (SIGMA_SCALE * side) ** 2))
        weights = weights.unsqueeze(-1) * profile
    return weights.clamp_(min=max(weights.min().item(), MIN_WEIGHT))


def find_body(suv: Tensor, spacing_mm: tuple[float, float, float]) -> Body | None:
    """Find the patient.

    Components of tissue-like uptake are kept if they are large, or small and hot (a lesion in a finger).

    Parameters
    ----------
    suv
        float32 [X, Y, Z]. Where values are not SUV, only the threshold relative to the hottest voxels acts.
    spacing_mm
        Along x, y, z.

    Returns
    -------
    Body or None
        None where nothing looks like a patient: then the whole volume has to be searched.
    """
    shape = triple(suv.shape)
    cell = triple([max(1, min(round(CELL_MM / mm), side)) for mm, side in zip(spacing_mm, shape, strict=True)])
    pooled = functional.avg_pool3d(suv[None, None], cell, ceil_mode=True, count_include_pad=False)
    cells = pooled[0, 0].cpu().numpy()
    threshold = max(min(TISSUE_SUV, TISSUE_OF_PEAK * float(np.percentile(cells, 99.9))), 0.0)
    labels, count = ndimage.label(cells > threshold, structure=np.ones((3, 3, 3)))
    if count == 0:
        return None
    volume_ml = np.bincount(labels.ravel())[1:] * np.prod(cell) * np.prod(spacing_mm) / 1000.0
    peak = ndimage.maximum(cells, labels, np.arange(1, count + 1))
    kept = ((volume_ml >= BODY_ML) & (peak >= BODY_PEAK * threshold)) | (peak >= HOT_PEAK * threshold)
    if not kept.any():
        return None
    margin = triple([int(np.ceil(MARGIN_MM / mm)) for mm in spacing_mm])
    return Body(np.concatenate(([False], kept))[labels], cell, margin, shape)


def _offsets(start: int, stop: int, window: int, overlap: float) -> list[int]:
    """Window positions along one axis from `start` to `stop`, which are at least a window apart."""
    step = max(int(window * (1 - overlap)), 1)
    return [*range(start, stop - window, step), stop - window]


def _spread(start: int, stop: int, window: int, overlap: float) -> list[int]:
    """Spread windows evenly from `start` to `stop`: no two of them almost the same, as where the last is moved back."""
    room = stop - start - window
    step = max(int(window * (1 - overlap)), 1)
    gaps = max(math.ceil(room / step - STRETCH), math.ceil(room / window))
    return [start + round(room * number / gaps) for number in range(gaps + 1)] if gaps else [start]


def _grown(
    box: Box | None, axis: int, window: Triple, padded: Triple, padding: list[tuple[int, int]]
) -> tuple[int, int]:
    """One axis of a box in the image, moved to the padded image and grown to a window's size at least."""
    assert box is not None
    start, stop = box.start[axis] + padding[axis][0], box.stop[axis] + padding[axis][0]
    missing = window[axis] - (stop - start)
    if missing <= 0:
        return start, stop
    start = min(max(start - missing // 2, 0), padded[axis] - window[axis])
    return start, start + window[axis]
