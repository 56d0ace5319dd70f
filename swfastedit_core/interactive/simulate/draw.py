"""Random voxel of a region."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from swfastedit_core.interactive.simulate.distance import distance_to_border

Draw = Literal["uniform", "distance"]
DRAWS: tuple[Draw, ...] = ("uniform", "distance")


def draw_voxel(region: np.ndarray | Tensor, rng: np.random.Generator, *, draw: Draw = "uniform") -> np.ndarray | None:
    """Draw a voxel of a region.

    Parameters
    ----------
    region
        Array or tensor of three dimensions, in any axis order; voxels that are not 0 are the region.
    rng
        Random generator; one number is drawn.
    draw
        ``uniform``: equal probabilities, as in the published code of SW-FastEdit. ``distance``: p ∝ exp(d) − 1
        with the distance d to the border in voxels, as in its text, so most voxels come from the thickest part.

    Returns
    -------
    ndarray or None
        int64 [3], index in the order of the axes of the region. None if the region is empty.

    Notes
    -----
    The published code (matt3o/AutoPET2-Submission, utils/distance_transform.py) weights by distances that it limits to
    1.7e-7, below all distances of a region; what remains is the uniform distribution.
    """
    mask = region != 0
    per_slice = _to_numpy(mask.sum((1, 2)))
    if not per_slice.any():
        return None
    if draw == "uniform":
        return _voxel(mask, per_slice, int(rng.integers(per_slice.sum())))
    depth = _to_numpy(distance_to_border(mask)[mask]).astype(np.float64)
    weights = np.exp(depth - depth.max()) * -np.expm1(-depth)  # exp(d) - 1, divided by exp(max d): no overflow
    return _voxel(mask, per_slice, _draw_index(weights, rng))


def _draw_index(weights: np.ndarray, rng: np.random.Generator) -> int:
    total = weights.cumsum()
    index = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    return min(index, len(weights) - 1)  # rounding


def _voxel(mask: np.ndarray | Tensor, per_slice: np.ndarray, number: int) -> np.ndarray:
    """Return the index of the voxel with a given number; voxels are counted in the order of the array."""
    up_to = per_slice.cumsum()
    first = int(np.searchsorted(up_to, number, side="right"))
    before = int(up_to[first] - per_slice[first])
    second, third = np.argwhere(_to_numpy(mask[first]))[number - before]
    return np.array([first, second, third], np.int64)


def _to_numpy(values: np.ndarray | Tensor) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()
