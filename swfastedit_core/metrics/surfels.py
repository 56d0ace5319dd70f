"""Surface of a mask by marching cubes: triangles between the centres of 2×2×2 neighbouring voxels.

A cell is the block between eight voxel centres. Its code has a bit for each of them: 128 for the first voxel of the
cell, then 64 for its neighbour along x, 32 along y, 16 along y and x, and 8 to 1 for the same four one slice further.
This is the order of codes of surface-distance (google-deepmind).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

CODES = 256
FULL = CODES - 1

Corner = tuple[int, ...]  # z, y, x of a voxel in its cell: 0 or 1
Midpoint = tuple[float, ...]  # of two neighbouring corners


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Return the code of each cell of a mask, also of the cells half outside of the array.

    Parameters
    ----------
    mask
        Array [Z, Y, X]; voxels that are not 0 are foreground. Voxels outside of the array are background.

    Returns
    -------
    ndarray
        uint8 [Z+1, Y+1, X+1]. Cell z, y, x lies between voxels (z-1, y-1, x-1) and (z, y, x). 0 and 255 have no
        surface.
    """
    foreground = (mask != 0).view(np.uint8)
    codes = np.zeros([side + 1 for side in mask.shape], np.uint8)
    for corner in _corners():
        region = tuple(slice(1 - at, 1 - at + side) for at, side in zip(corner, mask.shape, strict=True))
        codes[region] |= foreground * np.uint8(_bit(corner))
    return codes


def surfel_areas(spacing_zyx_mm: Sequence[float]) -> np.ndarray:
    """Return the area in mm² of the surface in a cell, float64 [256], by the code of the cell.

    Parameters
    ----------
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.
    """
    spacing = np.asarray(spacing_zyx_mm, float)
    return np.array([triangle_areas(_triangles(_fewer(code)) * spacing).sum() for code in range(CODES)])


def mesh(mask: np.ndarray, spacing_zyx_mm: Sequence[float]) -> np.ndarray:
    """Return the closed surface of a mask as triangles, counter-clockwise seen from outside.

    Parameters
    ----------
    mask
        Array [Z, Y, X]; voxels that are not 0 are foreground. Voxels outside of the array are background.
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.

    Returns
    -------
    ndarray
        float64 [triangles, 3 corners, zyx], mm from the centre of voxel 0; no triangles if the mask is empty.
    """
    codes = neighbour_codes(mask)
    cells = np.argwhere((codes > 0) & (codes < FULL))
    code_of_cell = codes[tuple(cells.T)]
    parts = [np.zeros((0, 3, 3))]
    for code in np.unique(code_of_cell):
        first_voxel = cells[code_of_cell == code] - 1.0
        parts.append((first_voxel[:, None, None] + _triangles(int(code))).reshape(-1, 3, 3))
    triangles: np.ndarray = np.concatenate(parts) * np.asarray(spacing_zyx_mm, float)
    return triangles


def triangle_areas(triangles: np.ndarray) -> np.ndarray:
    """Return the area of triangles [n, 3 corners, zyx], float64 [n]."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    areas: np.ndarray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def mesh_volume(triangles: np.ndarray) -> float:
    """Return the volume inside a closed mesh [n, 3 corners, zyx] by the divergence theorem; 0 without triangles."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    return abs(float((a * np.cross(b, c)).sum())) / 6


def _fewer(code: int) -> int:
    """Return the code or its complement, whichever has fewer foreground voxels."""
    return code if code.bit_count() <= 4 else FULL - code


@cache
def _triangles(code: int) -> np.ndarray:
    """Return the triangles of a cell, float64 [n, 3 corners, zyx], in voxels from the first voxel of the cell."""
    fans = [(loop[0], loop[i], loop[i + 1]) for loop in _loops(code) for i in range(1, len(loop) - 1)]
    return np.array(fans, float).reshape(-1, 3, 3)


def _loops(code: int) -> list[list[Midpoint]]:
    """Return the contours of the surface on the faces of a cell, each closed, as midpoints of the cell's edges.

    A contour crosses a face where foreground begins and ends on a walk around the face. Two foreground corners
    opposite to each other on a face are thereby separated, in this cell and in the one behind the face: the mesh has
    no holes.
    """
    following: dict[Midpoint, Midpoint] = {}
    for face in _faces():
        inside = [bool(code & _bit(corner)) for corner in face]
        crossings = [
            (inside[i], tuple((a + b) / 2 for a, b in zip(face[i - 1], face[i], strict=True)))
            for i in range(4)
            if inside[i - 1] != inside[i]
        ]
        if crossings and not crossings[0][0]:
            crossings.append(crossings.pop(0))
        for (_, begin), (_, end) in zip(crossings[::2], crossings[1::2], strict=True):
            following[begin] = end
    loops = []
    while following:
        loop = [min(following)]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        loops.append(loop[:-1])
    return loops


@cache
def _faces() -> list[list[Corner]]:
    """Return the corners of the six faces of a cell, clockwise seen from outside."""
    ring = [(0, 0), (0, 1), (1, 1), (1, 0)]
    faces = []
    for axis, side in product(range(3), (0, 1)):
        turn = ring[::-1] if side else ring
        faces.append([tuple(np.roll((side, u, v), axis).tolist()) for u, v in turn])
    return faces


def _corners() -> list[Corner]:
    return list(product((0, 1), repeat=3))


def _bit(corner: Corner) -> int:
    z, y, x = corner
    return 1 << (7 - (4 * z + 2 * y + x))
