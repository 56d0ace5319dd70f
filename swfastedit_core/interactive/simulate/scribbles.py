"""Scribbles on a region of a slice, as autoPET V draws them.

Each function takes a bool slice [Y, X] with one 8-connected region and a random generator. It returns the voxels of the
scribble, int64 [N, 2] (y, x), N > 0, all in the region. A region that is too small for a scribble is taken whole.

Source: autoPET V, interactive/simulate_scribbles.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from swfastedit_core.interactive.simulate.thinning import skeletonise

NEIGHBOURS_8 = np.ones((3, 3), bool)
CUT = 0.1  # of a centre line, at each end
CUT_LONGER_THAN = 10  # voxels
PART_OF_BORDER = 0.2
STEPS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]  # to the neighbours, in this order


def centerline(region_yx: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Follow the skeleton between its two voxels that are farthest apart; a tenth is cut off at each end of long ones.

    A region whose skeleton is a single voxel is taken whole.
    """
    skeleton = _largest(skeletonise(region_yx))
    voxels: np.ndarray = np.argwhere(skeleton)
    if len(voxels) < 2:
        return np.argwhere(region_yx)
    path: np.ndarray = voxels[_path_between_farthest(voxels)]
    if len(path) > CUT_LONGER_THAN:
        path = path[int(len(path) * CUT) : int(len(path) * (1 - CUT))]
    return path


def random_line(region_yx: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the straight line between two random voxels of the region; its voxels outside of the region are left out."""
    voxels = np.argwhere(region_yx)
    (y0, x0), (y1, x1) = voxels[rng.integers(len(voxels), size=2)]
    count = max(abs(y1 - y0), abs(x1 - x0)) + 1
    line = np.rint(np.linspace((y0, x0), (y1, x1), count)).astype(np.int64)
    inside: np.ndarray = line[region_yx[tuple(line.T)]]
    return inside


def boundary(region_yx: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Walk along the voxels at the inside of the border: a fifth of them, at least 2 steps, from a random one."""
    eroded = ndimage.binary_erosion(region_yx, border_value=1)  # the border of the image is no border
    border = region_yx & ~eroded
    voxels = np.argwhere(border)
    if len(voxels) < 2:
        return np.argwhere(region_yx)
    left = {(int(y), int(x)) for y, x in voxels}
    y, x = (int(index) for index in voxels[rng.integers(len(voxels))])
    walk = [(y, x)]
    left.remove((y, x))
    for _ in range(max(2, int(PART_OF_BORDER * len(voxels)))):
        free = [(y + step_y, x + step_x) for step_y, step_x in STEPS if (y + step_y, x + step_x) in left]
        if not free:
            break
        y, x = free[0]
        walk.append((y, x))
        left.remove((y, x))
    return np.array(walk, np.int64)


def _largest(mask_yx: np.ndarray) -> np.ndarray:
    numbers, _ = ndimage.label(mask_yx, structure=NEIGHBOURS_8)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return np.asarray((numbers == sizes.argmax()) & mask_yx)


def _path_between_farthest(voxels: np.ndarray) -> np.ndarray:
    """Return the numbers of the voxels on a shortest 8-connected path between the two that are farthest apart."""
    start, end = _farthest_pair(voxels)
    pairs = cKDTree(voxels).query_pairs(1, p=np.inf, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(voxels),) * 2).tocsr()
    _, before = breadth_first_order(graph, start, directed=False)
    path = [end]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return np.array(path[::-1])


def _farthest_pair(voxels: np.ndarray) -> tuple[int, int]:
    """Return the numbers of the two voxels that are farthest apart; each is the first or the last of its row."""
    y = voxels[:, 0]
    changes = np.flatnonzero(np.diff(y))
    ends = np.unique(np.concatenate([[0], changes, changes + 1, [len(y) - 1]]))
    distance = cdist(voxels[ends], voxels[ends])
    first, second = np.unravel_index(distance.argmax(), distance.shape)
    return int(ends[first]), int(ends[second])


SCRIBBLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "centerline": centerline,
    "random": random_line,
    "boundary": boundary,
}
