"""Distances between the surfaces of two masks: surface Dice and the 95th percentile of the Hausdorff distance.

Distances come from a k-d tree of surface elements: a distance transform needs the whole volume, time and memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from swfastedit_core.metrics.surfels import FULL, neighbour_codes, surfel_areas

PERCENTILE = 0.95
ROUNDING = 1e-6  # relative error of spacings in headers, which are float32 in NIfTI


def surface_dice(
    truth: np.ndarray, prediction: np.ndarray, *, spacing_zyx_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Return the share of both surfaces that lies within a tolerance of the other surface.

    As defined by Nikolov et al. (https://arxiv.org/abs/1809.04430) and computed by surface-distance (google-deepmind):
    the surface is that of marching cubes, a surface element lies at the centre of its cell and is weighted by its area.

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape; voxels that are not 0 are foreground.
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.
    tolerance_mm
        A surface element counts if the other surface is at most this far away.

    Returns
    -------
    float
        0 to 1. NaN if both masks are empty, 0 if one is.
    """
    cells, areas = zip(*(_surfels(mask, spacing_zyx_mm) for mask in (truth, prediction)), strict=True)
    whole = areas[0].sum() + areas[1].sum()
    if not whole:
        return math.nan
    if not areas[0].size or not areas[1].size:
        return 0.0
    limit_mm = tolerance_mm * (1 + ROUNDING)
    near = sum(
        areas[i][_distances(cells[i], cells[1 - i], spacing_zyx_mm, limit_mm=limit_mm) <= limit_mm].sum()
        for i in (0, 1)
    )
    return float(near / whole)


def hd95_mm(truth: np.ndarray, prediction: np.ndarray, *, spacing_zyx_mm: Sequence[float]) -> float:
    """Return the 95th percentile of the Hausdorff distance between border voxels.

    As in grand-challenge-metrics: a border voxel has a face neighbour outside of the mask, or lies at the border of
    the array; from n sorted distances, element int((n - 1) · 0.95) is taken; the larger of the two directions counts.

    Parameters
    ----------
    truth, prediction, spacing_zyx_mm
        As in `surface_dice`.

    Returns
    -------
    float
        mm. NaN if one or both masks are empty: there is no distance.
    """
    truth_border, predicted_border = (np.argwhere(border_voxels(mask)) for mask in (truth, prediction))
    if not len(truth_border) or not len(predicted_border):
        return math.nan
    return max(
        _percentile(_distances(truth_border, predicted_border, spacing_zyx_mm)),
        _percentile(_distances(predicted_border, truth_border, spacing_zyx_mm)),
    )


def border_voxels(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask with a face neighbour outside of the mask or of the array, bool of the same shape."""
    inside = np.pad(mask != 0, 1)
    core = inside[1:-1, 1:-1, 1:-1].copy()
    border = core.copy()
    for axis in range(3):
        for shift in (slice(None, -2), slice(2, None)):
            index = [slice(1, -1)] * 3
            index[axis] = shift
            core &= inside[tuple(index)]
    border &= ~core
    return border


def _surfels(mask: np.ndarray, spacing_zyx_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return cell [n, zyx] and area [n] of the surface elements."""
    codes = neighbour_codes(mask)
    surface = (codes > 0) & (codes < FULL)
    return np.argwhere(surface), surfel_areas(spacing_zyx_mm)[codes[surface]]


def _distances(
    start: np.ndarray, goal: np.ndarray, spacing_zyx_mm: Sequence[float], *, limit_mm: float = math.inf
) -> np.ndarray:
    """Return the distance of each start to its nearest goal in mm; infinite above the limit."""
    spacing = np.asarray(spacing_zyx_mm, float)
    distances, _ = cKDTree(goal * spacing).query(start * spacing, distance_upper_bound=np.nextafter(limit_mm, math.inf))
    return np.asarray(distances)


def _percentile(distances: np.ndarray) -> float:
    rank = int((len(distances) - 1) * PERCENTILE)
    return float(np.partition(distances, rank)[rank])
