"""Farthest points of sets of points, by their convex hulls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

FEW = 50  # points for which the hull takes longer than their distances
ROWS = 2**11  # points whose distances to all others are computed at a time


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

    The pairs of sets come in the order of an upper bound of their distance. So most pairs need no distance of points.

    Parameters
    ----------
    sets
        Two or more arrays of points, float64 [N, 3], N above 0.
    """
    centres = np.array([points.mean(axis=0) for points in sets])
    radii = np.array(
        [np.linalg.norm(points - centre, axis=1).max() for points, centre in zip(sets, centres, strict=True)]
    )
    first, second = np.triu_indices(len(sets), 1)
    bounds = np.linalg.norm(centres[first] - centres[second], axis=1) + radii[first] + radii[second]
    longest = 0.0
    for pair in np.argsort(-bounds, kind="stable"):
        if bounds[pair] <= longest:
            break
        longest = max(longest, _longest(hull_points(sets[first[pair]]), hull_points(sets[second[pair]])))
    return longest


def _longest(one: np.ndarray, other: np.ndarray) -> float:
    return max(float(cdist(one[first : first + ROWS], other).max()) for first in range(0, len(one), ROWS))
