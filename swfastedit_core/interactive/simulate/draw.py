"""Random voxels of a region."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from swfastedit_core.interactive.simulate.distance import distance_to_border

Draw = Literal["uniform", "distance"]
DRAWS: tuple[Draw, ...] = ("uniform", "distance")


def draw_voxel(region: np.ndarray | Tensor, rng: np.random.Generator, *, draw: Draw = "uniform") -> np.ndarray | None:
    """Draw a voxel of a region, int64 [3]; None if the region is empty. See `draw_voxels`."""
    voxels = draw_voxels(region, rng, count=1, draw=draw)
    return voxels[0] if len(voxels) else None


def draw_voxels(
    region: np.ndarray | Tensor, rng: np.random.Generator, *, count: int, draw: Draw = "uniform"
) -> np.ndarray:
    """Draw voxels of a region, independently of each other; a voxel may be drawn several times.

    Parameters
    ----------
    region
        Array or tensor of three dimensions, in any axis order; voxels that are not 0 are the region.
    rng
        Random generator; one number is drawn for each voxel.
    count
        Number of voxels.
    draw
        ``uniform``: equal probabilities, as in the published code of SW-FastEdit. ``distance``: p ∝ exp(d) − 1
        with the distance d to the border in voxels, as in its text, so most voxels come from the thickest part.

    Returns
    -------
    ndarray
        int64 [count, 3], indices in the order of the axes of the region. [0, 3] if the region is empty.

    Notes
    -----
    The published code (matt3o/AutoPET2-Submission, utils/distance_transform.py) weights by distances that it limits to
    1.7e-7, below all distances of a region; what remains is the uniform distribution.
    """
    mask = region != 0
    per_slice = _to_numpy(mask.sum((1, 2)))
    if not count or not per_slice.any():
        return np.empty((0, 3), np.int64)
    if draw == "uniform":
        numbers = [int(rng.integers(per_slice.sum())) for _ in range(count)]
    else:
        depth = _to_numpy(distance_to_border(mask)[mask]).astype(np.float64)
        weights = np.exp(depth - depth.max()) * -np.expm1(-depth)  # exp(d) - 1, divided by exp(max d): no overflow
        numbers = [_draw_index(weights, rng) for _ in range(count)]
    return np.stack([_voxel(mask, per_slice, number) for number in numbers])


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
