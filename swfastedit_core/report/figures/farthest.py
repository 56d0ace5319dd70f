"""Farthest points of sets of points, by their convex hulls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

FEW = 50  # points for which the hull takes longer than their distances
ROWS = 2**8  # points whose distances to all others are computed at a time


def hull_points(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull of points; all points if they lie in a plane, or are few.

    Parameters
    ----------
    points
        float64 [N, 3].
    """
    if len(points) <= FEW:
        return points
    try:
        corners: np.ndarray = points[ConvexHull(points).vertices]
    except QhullError:  # flat
        return points
    return corners


def farthest_distance(points: np.ndarray) -> float:
    """Return the longest distance of two points; 0 for one point.

    Parameters
    ----------
    points
        float64 [N, 3], N above 0.
    """
    corners = hull_points(points)
    return _longest(corners, corners)


def farthest_of_two(sets: Sequence[np.ndarray]) -> float:
    """Return the longest distance of two points that belong to different sets.

    Pairs of sets whose spheres cannot be farther apart than the farthest centres are left out; the others come in the
    order of this upper bound. So most pairs need no distance of points.

    Parameters
    ----------
    sets
        Two or more arrays of points, float64 [N, 3], N above 0.
    """
    centres = np.array([points.mean(axis=0) for points in sets])
    radii = np.array(
        [np.linalg.norm(points - centre, axis=1).max() for points, centre in zip(sets, centres, strict=True)]
    )
    longest = farthest_distance(centres) * (1 - 1e-9)  # of two sets, some points are as far apart as their centres
    pairs, bounds = _pairs_beyond(longest, centres, radii)
    for pair in np.argsort(-bounds, kind="stable"):
        if bounds[pair] <= longest:
            break
        first, second = pairs[pair]
        longest = max(longest, _longest(hull_points(sets[first]), hull_points(sets[second])))
    return longest


def _pairs_beyond(mm: float, centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of spheres with points farther apart than `mm`, int64 [N, 2], and their longest distances [N].

    Pairs are checked by rows: the distances of all pairs of thousands of spheres need gigabytes.
    """
    pairs, bounds = [], []
    for first in range(0, len(centres), ROWS):
        rows = slice(first, first + ROWS)
        reach = cdist(centres[rows], centres) + radii[rows, None] + radii
        row, column = np.nonzero(reach > mm)
        once = column > row + first
        pairs.append(np.stack([row + first, column], axis=1)[once])
        bounds.append(reach[row[once], column[once]])
    return np.concatenate(pairs), np.concatenate(bounds)


def _longest(one: np.ndarray, other: np.ndarray) -> float:
    return max(float(cdist(one[first : first + ROWS], other).max()) for first in range(0, len(one), ROWS))
