"""The liver reference: SUV in a sphere of 3 cm, which the user places or `find_liver` does."""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.report.record import Liver, Point
from swfastedit_core.volume import Geometry, Volume

RADIUS_MM = 15.0
EANM_SUV = (1.3, 3.0)  # liver SUVmean that makes weight, dose and times plausible (EANM guideline 2.0)


def measure_liver(pet: Volume, centre_mm: Point, *, guessed: bool) -> Liver:
    """Measure the SUV of the voxels whose centres lie in a sphere of 3 cm.

    Parameters
    ----------
    pet
        SUV [Z, Y, X].
    centre_mm
        Patient coordinates (L, P, S).
    guessed
        Whether the program found the place itself.

    Raises
    ------
    UserError
        If a part of the sphere is outside of the image.
    """
    require_sphere_inside(centre_mm, pet.geometry)
    values = pet.array_zyx[sphere_zyx(centre_mm, pet.geometry)].astype(np.float64)
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    low, high = EANM_SUV
    return Liver(
        centre_mm=centre_mm,
        guessed=guessed,
        voxels=len(values),
        suv_mean=mean,
        suv_sd=sd,
        in_range=low <= mean <= high,
        percist_suv=1.5 * mean + 2 * sd,
    )


def require_sphere_inside(centre_mm: Point, grid: Geometry) -> None:
    """Refuse a sphere that reaches beyond the outer faces of the image.

    Raises
    ------
    UserError
        If it does.
    """
    index_xyz, reach = _index_xyz(centre_mm, grid), RADIUS_MM / np.array(grid.spacing_mm)
    # Headers are rounded: half a hundredth of a voxel does not matter.
    inside = (index_xyz - reach >= -0.505) & (index_xyz + reach <= np.array(grid.size_xyz) - 0.495)
    if not (np.isfinite(centre_mm).all() and inside.all()):
        low, high = grid.corners_mm.min(axis=0), grid.corners_mm.max(axis=0)
        image = ", ".join(f"{a:.0f} to {b:.0f}" for a, b in zip(low, high, strict=True))
        raise UserError(
            f"the liver sphere of 3 cm around {', '.join(f'{mm:g}' for mm in centre_mm)} mm is not inside of the "
            f"image, whose voxels lie at {image} mm (L, P, S); give a point in the right lobe of the liver"
        )


def sphere_zyx(centre_mm: Point, grid: Geometry) -> tuple[np.ndarray, ...]:
    """Return the index of the voxels whose centres lie in the sphere and the image; at least the nearest voxel."""
    middle, spacing_mm = _index_xyz(centre_mm, grid), np.array(grid.spacing_mm)
    sides = [
        np.arange(max(0, math.ceil(at - RADIUS_MM / mm)), min(size, math.floor(at + RADIUS_MM / mm) + 1))
        for at, mm, size in zip(middle, spacing_mm, grid.size_xyz, strict=True)
    ]
    index_xyz = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (((index_xyz - middle) * spacing_mm) ** 2).sum(axis=1) <= RADIUS_MM**2 * (1 + 1e-9)
    if not inside.any():
        index_xyz = np.clip(np.rint(middle), 0, np.array(grid.size_xyz) - 1).astype(int)[None]
        inside = np.ones(1, bool)
    return tuple(index_xyz[inside].T[::-1])


def _index_xyz(centre_mm: Point, grid: Geometry) -> np.ndarray:
    index: np.ndarray = (np.array(centre_mm) - grid.origin_mm) @ grid.axes_lps / grid.spacing_mm
    return index
