"""Dmax, the longest distance of two lesions, and the body surface area by which SDmax is divided.

Two forms are in use: the distance of the farthest centroids (Cottereau et al., J Nucl Med 2020;61:40) and of the
farthest voxels of two lesions. SDmax is Dmax divided by the body surface area (Cottereau et al., Ann Oncol
2021;32:404).
"""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.report.figures.farthest import farthest_distance, farthest_of_two
from swfastedit_core.report.figures.measure import to_patient_mm
from swfastedit_core.volume import Geometry


def dmax_of_centroids_mm(centroids_mm: np.ndarray) -> float | None:
    """Return the longest distance of two centroids; 0 for one lesion, None without lesions.

    Parameters
    ----------
    centroids_mm
        float64 [lesions, 3].
    """
    return farthest_distance(centroids_mm) if len(centroids_mm) else None


def dmax_of_voxels_mm(numbers_zyx: np.ndarray, count: int, grid: Geometry) -> float | None:
    """Return the longest distance of the centres of two voxels of different lesions.

    Parameters
    ----------
    numbers_zyx, count
        From `number_lesions`.
    grid
        Grid of the mask.

    Returns
    -------
    float or None
        For one lesion, the longest distance of two of its voxels. None without lesions.
    """
    if not count:
        return None
    lesions = _ends_of_rows_mm(numbers_zyx, grid)
    return farthest_distance(lesions[0]) if count == 1 else farthest_of_two(lesions)


def body_surface_m2(*, height_cm: float, weight_kg: float) -> float:
    """Return the body surface area by the formula of Du Bois (Arch Intern Med 1916;17:863).

    Parameters
    ----------
    height_cm, weight_kg
        Of the patient.
    """
    return 0.007184 * math.pow(height_cm, 0.725) * math.pow(weight_kg, 0.425)


def _ends_of_rows_mm(numbers_zyx: np.ndarray, grid: Geometry) -> list[np.ndarray]:
    """Return for each lesion the first and the last voxel of its rows along x: no other voxel is farthest.

    float64 [N, 3] each, in patient coordinates.
    """
    flat = np.flatnonzero(numbers_zyx)
    lesion, row = numbers_zyx.reshape(-1)[flat], flat // numbers_zyx.shape[2]
    order = np.lexsort((flat, row, lesion))  # the voxels of a lesion in a row, from first to last
    flat, lesion, row = flat[order], lesion[order], row[order]
    changes = (np.diff(lesion) != 0) | (np.diff(row) != 0)
    ends = np.append(changes, True) | np.insert(changes, 0, True)
    index_zyx = np.stack(np.unravel_index(flat[ends], numbers_zyx.shape), axis=1)
    points_mm = to_patient_mm(index_zyx[:, ::-1], grid)
    return np.split(points_mm, np.flatnonzero(np.diff(lesion[ends])) + 1)
