"""Surface, volume, sphericity and longest diameter of a lesion, from the mesh of its surface, as the IBSI does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swfastedit_core.metrics.surfels import mesh, mesh_volume, triangle_areas
from swfastedit_core.report.figures.farthest import farthest_distance


@dataclass(frozen=True)
class Shape:
    """Figures of a mesh.

    Attributes
    ----------
    surface_mm2
        Area of the triangles (C0JK).
    volume_mm3
        Volume within them (RNU0); smaller than that of the counted voxels, since the mesh cuts corners.
    sphericity
        Surface of a sphere of this volume divided by the surface (QCFX); 1 for a sphere.
    longest_diameter_mm
        Longest distance of two corners of triangles (L0JK).
    """

    surface_mm2: float
    volume_mm3: float
    sphericity: float
    longest_diameter_mm: float


def measure_shape(mask_zyx: np.ndarray, *, spacing_zyx_mm: tuple[float, ...]) -> Shape:
    """Measure a lesion.

    Parameters
    ----------
    mask_zyx
        bool [Z, Y, X] of the lesion, which may touch the border of the array: outside of it is background.
    spacing_zyx_mm
        Distance of voxel centres.

    Returns
    -------
    Shape
        The mesh of a single voxel is an octahedron through the middles of the edges to its neighbours.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not mask_zyx.any():
        raise ValueError("a lesion has voxels")
    triangles = mesh(mask_zyx, (1.0, 1.0, 1.0))
    spacing_mm = np.array(spacing_zyx_mm)
    triangles_mm = triangles * spacing_mm
    surface_mm2, volume_mm3 = float(triangle_areas(triangles_mm).sum()), mesh_volume(triangles_mm)
    return Shape(
        surface_mm2=surface_mm2,
        volume_mm3=volume_mm3,
        sphericity=(36 * math.pi * volume_mm3**2) ** (1 / 3) / surface_mm2,
        longest_diameter_mm=farthest_distance(_corners(triangles, mask_zyx.shape) * spacing_mm),
    )


def _corners(triangles: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the corners of triangles, each once, float64 [N, 3]; they lie half way between voxels, from -0.5 on."""
    sides = tuple(2 * side + 1 for side in shape)
    index = np.rint(2 * triangles.reshape(-1, 3) + 1).astype(np.int64)
    once = np.unique(np.ravel_multi_index(tuple(index.T), sides))
    return (np.stack(np.unravel_index(once, sides), axis=1) - 1) / 2
