"""Which windows to run, and how they are weighted: the body's box, the plan, the Gaussian.

A plan is plain integers made before anything runs; it can be printed, counted and tested without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from swfastedit_core.errors import UserError
from swfastedit_core.preprocess import Box

SIGMA_SCALE = 0.125  # of the window's side, as in MONAI and nnU-Net
MIN_WEIGHT = 1e-3  # MONAI's floor of the Gaussian

# The body's box. Means over cells of about 8 mm are robust against noise. Tissue has an SUV above 0.1 there, air and
# table far less; the threshold sinks with the image's own scale so that cold or differently scaled scans are not cut.
CELL_MM = 8.0
TISSUE_SUV = 0.1
TISSUE_OF_PEAK = 0.02  # share of the 99.9th percentile
BODY_PEAK = 3.0  # times the threshold: what a component of some size must reach somewhere
BODY_ML = 30.0  # and that size
HOT_PEAK = 10.0  # times the threshold: this hot, a component of any size belongs to the region
MARGIN_MM = 16.0

Triple = tuple[int, int, int]


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
        The part of the padded image that the windows cover.
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


def plan_windows(image: Triple, *, window: Triple, overlap: float, region: Box | None = None) -> WindowPlan:
    """Lay windows over an image, or over a region of it.

    Without a region the positions are those of MONAI's ``sliding_window_inference``: steps of
    ``int(window * (1 - overlap))``, the last window of each axis moved back to end with the image.

    Parameters
    ----------
    image
        Shape [X, Y, Z] of the image.
    window
        Sides of a window. A smaller image is padded symmetrically.
    overlap
        Share of a window's side that neighbours have in common, 0 ≤ overlap < 1.
    region
        Part of the image to cover; grown to a window's size where it is smaller and the image allows it.

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
    region = region or Box.whole(image)
    padding, start, stop, axis_starts = [], [], [], []
    for axis in range(3):
        missing = max(window[axis] - image[axis], 0)
        before = missing // 2
        low, high = _grown(region.start[axis] + before, region.stop[axis] + before, window[axis], image[axis] + missing)
        padding.append((before, missing - before))
        start.append(low)
        stop.append(high)
        axis_starts.append([low + offset for offset in _offsets(high - low, window[axis], overlap)])
    return WindowPlan(
        window,
        (padding[0], padding[1], padding[2]),
        Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])),
        tuple((x, y, z) for x, y, z in product(*axis_starts)),
    )


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


def body_box(suv: Tensor, spacing_mm: tuple[float, float, float]) -> Box:
    """Find the box that holds the patient.

    Components of tissue-like uptake are kept if they are large, or small and hot (a lesion in a finger); the box
    around all of them gets a margin. Where nothing is found it is the whole volume.

    Parameters
    ----------
    suv
        float32 [X, Y, Z].
    spacing_mm
        Along x, y, z.

    Returns
    -------
    Box
        Never empty.
    """
    cell = [max(1, min(round(CELL_MM / mm), side)) for mm, side in zip(spacing_mm, suv.shape, strict=True)]
    cells = functional.avg_pool3d(suv[None, None], cell, ceil_mode=True, count_include_pad=False)[0, 0].cpu().numpy()
    threshold = min(TISSUE_SUV, TISSUE_OF_PEAK * float(np.percentile(cells, 99.9)))
    labels, count = ndimage.label(cells > max(threshold, 0.0), structure=np.ones((3, 3, 3)))
    if count == 0:
        return Box.whole(_triple(suv.shape))
    index = np.arange(1, count + 1)
    volume_ml = ndimage.sum_labels(np.ones_like(cells), labels, index) * np.prod(cell) * np.prod(spacing_mm) / 1000.0
    peak = ndimage.maximum(cells, labels, index)
    kept = ((volume_ml >= BODY_ML) & (peak >= BODY_PEAK * threshold)) | (peak >= HOT_PEAK * threshold)
    if not kept.any():
        return Box.whole(_triple(suv.shape))
    found = [box for box, keep in zip(ndimage.find_objects(labels), kept, strict=True) if keep]
    start, stop = [], []
    for axis in range(3):
        margin = int(np.ceil(MARGIN_MM / spacing_mm[axis]))
        start.append(max(min(box[axis].start for box in found) * cell[axis] - margin, 0))
        stop.append(min(max(box[axis].stop for box in found) * cell[axis] + margin, suv.shape[axis]))
    return Box(_triple(start), _triple(stop))


def _offsets(length: int, window: int, overlap: float) -> list[int]:
    """Window positions along one axis of `length` ≥ `window` voxels."""
    step = max(int(window * (1 - overlap)), 1)
    offsets = list(range(0, length - window, step))
    return [*offsets, length - window]


def _grown(start: int, stop: int, window: int, length: int) -> tuple[int, int]:
    """Grow an interval to the window's size, evenly where the image has room on both sides."""
    missing = max(window - (stop - start), 0)
    start = min(max(start - missing // 2, 0), max(length - window, 0)) if missing else start
    return start, max(stop, start + window) if missing else stop


def _triple(values: torch.Size | list[int]) -> Triple:
    x, y, z = values
    return x, y, z
