"""Surface of a mask by marching cubes: triangles in the cells between voxel centres.

A cell lies between eight voxel centres. Its code has a bit for each of them that is foreground: 128, 64, 32 and 16 for
those of its first slice, 8, 4, 2 and 1 for those of its second slice; in a slice, x changes faster than y. The
codes, and the areas of `surfel_areas`, are those of surface-distance (google-deepmind).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

CODES = 256
FULL = CODES - 1  # code of a cell inside the mask

Point = tuple[float, ...]  # z, y, x in a cell: 0 and 1 at voxel centres, 0.5 at the midpoint of two of them


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Return the code of each cell of a mask, also of the cells that lie partly outside of the array.

    Parameters
    ----------
    mask
        Array [Z, Y, X]; voxels that are not 0 are foreground. Beyond the array all is background.

    Returns
    -------
    ndarray
        uint8 [Z+1, Y+1, X+1]. Cell z, y, x lies between voxels (z-1, y-1, x-1) and (z, y, x). A cell with code 0 or
        255 has no surface.
    """
    codes = np.pad(mask != 0, 1).view(np.uint8)
    codes = codes[:, :, :-1] << np.uint8(1) | codes[:, :, 1:]
    codes = codes[:, :-1] << np.uint8(2) | codes[:, 1:]
    codes = codes[:-1] << np.uint8(4) | codes[1:]
    return codes


def surfel_areas(spacing_zyx_mm: Sequence[float]) -> np.ndarray:
    """Return the area of the surface in a cell in mm², float64 [256], by the code of the cell.

    The area of a code is that of its complement, as in the table of surface-distance: on a face whose foreground
    corners lie on a diagonal, the four or fewer corners of a kind are separated. The mesh, which must be closed,
    always joins the foreground, so its area is another one where such faces occur.

    Parameters
    ----------
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.
    """
    triangles, counts = _table()
    triangles = triangles * np.asarray(spacing_zyx_mm, float)
    areas = triangle_areas(triangles.reshape(-1, 3, 3)).reshape(CODES, -1)
    areas = np.where(np.arange(areas.shape[1]) < counts[:, None], areas, 0).sum(axis=1)
    larger = [code if code.bit_count() > 4 else FULL - code for code in range(CODES)]
    of_codes: np.ndarray = areas[larger]
    return of_codes


def mesh(mask: np.ndarray, spacing_zyx_mm: Sequence[float]) -> np.ndarray:
    """Return the closed surface of a mask as triangles.

    Foreground voxels that share an edge are joined, as in 18-connected components.

    Parameters
    ----------
    mask
        Array [Z, Y, X]; voxels that are not 0 are foreground. Beyond the array all is background.
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.

    Returns
    -------
    ndarray
        float64 [triangles, 3 corners, zyx], mm from the centre of voxel 0. The cross product of the first two sides of
        a triangle points out of the mask. An empty mask has no triangles.
    """
    codes = neighbour_codes(mask)
    cells = np.argwhere((codes > 0) & (codes < FULL))
    codes_of_cells = codes[tuple(cells.T)]
    table, counts = _table()
    counts_of_cells = counts[codes_of_cells]
    cell = np.repeat(np.arange(len(cells)), counts_of_cells)
    place = np.arange(len(cell)) - np.repeat(np.cumsum(counts_of_cells) - counts_of_cells, counts_of_cells)
    triangles: np.ndarray = table[codes_of_cells[cell], place] + (cells[cell] - 1.0)[:, None]
    triangles *= np.asarray(spacing_zyx_mm, float)
    return triangles


def triangle_areas(triangles: np.ndarray) -> np.ndarray:
    """Return the areas of triangles [n, 3 corners, zyx], float64 [n]."""
    a, b, c = (triangles[:, i] for i in range(3))
    areas: np.ndarray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def mesh_volume(triangles: np.ndarray) -> float:
    """Return the volume inside a closed mesh [n, 3 corners, zyx], by the divergence theorem; 0 without triangles."""
    near_zero = triangles - triangles[:1, :1]  # small terms, so that the sum is exact wherever the mesh lies
    a, b, c = (near_zero[:, i] for i in range(3))
    return float((a * np.cross(b, c)).sum()) / 6


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Return the triangles of all codes, float64 [256, most, 3 corners, zyx], and their number, int64 [256]."""
    of_codes = [[triangle for loop in _contours(code) for triangle in _fan(loop)] for code in range(CODES)]
    counts = np.array([len(triangles) for triangles in of_codes])
    table = np.zeros((CODES, counts.max(), 3, 3))
    for code, triangles in enumerate(of_codes):
        table[code, : len(triangles)] = np.reshape(triangles, (-1, 3, 3))
    return table, counts


def _contours(code: int) -> list[list[Point]]:
    """Return the closed contours of the surface on the faces of a cell, as midpoints of the edges that they cross.

    On a walk around a face, a contour line leads from where the background ends to where it began. The two cells at a
    face draw the same lines, in opposite directions, so the contours of all cells fit together.
    """
    lines: dict[Point, Point] = {}
    for face in _faces():
        background = [not code & _bit(corner) for corner in face]
        changes = [i for i in range(4) if background[i] != background[i - 1]]
        if changes and not background[changes[0]]:
            changes.append(changes.pop(0))
        middles = [tuple((a + b) / 2 for a, b in zip(face[i], face[i - 1], strict=True)) for i in changes]
        lines.update(zip(middles[1::2], middles[::2], strict=True))
    contours = []
    while lines:
        contour = [min(lines)]
        while contour[-1] in lines:
            contour.append(lines.pop(contour[-1]))
        contours.append(contour[:-1])
    return contours


def _fan(contour: list[Point]) -> list[list[Point]]:
    """Return the triangles between one point of a contour and the others; of all points, the one with most area.

    Most contours are not flat, so that areas differ. Those with most area are the ones of surface-distance. In a
    contour of seven points, which its table lacks, two points have most area, and other areas if voxels are no cubes;
    the only point without such a partner keeps the mesh of a mirrored mask the same.
    """
    turned = [contour[i:] + contour[:i] for i in range(len(contour))]
    fans = [[[points[0], *points[i : i + 2]] for i in range(1, len(points) - 1)] for points in turned]
    areas = [round(float(triangle_areas(np.array(fan)).sum()), 9) for fan in fans]
    single = [len(contour) == 7 and areas.count(area) == 1 for area in areas]
    return max(zip(single, areas, fans, strict=True), key=lambda choice: choice[:2])[2]


@cache
def _faces() -> list[list[tuple[int, ...]]]:
    """Return the corners of the six faces of a cell, each as a walk that has its outer side on the left."""
    walk = [(0, 0), (1, 0), (1, 1), (0, 1)]
    return [
        [tuple(int(i) for i in np.roll((side, *corner), axis)) for corner in (walk if side else walk[::-1])]
        for axis, side in product(range(3), (0, 1))
    ]


def _bit(corner: tuple[int, ...]) -> int:
    z, y, x = corner
    return 128 >> (4 * z + 2 * y + x)
