"""Resampling of one volume onto the grid of another, by patient coordinates."""

from __future__ import annotations

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.volume import AIR_HU, Geometry, Volume

SAME_GRID_MM = 1e-2  # tolerance for the corners of equal grids; NIfTI stores coordinates as float32


def resample_ct(ct: Volume, grid: Geometry) -> Volume:
    """Resample a CT to the PET's grid by patient coordinates.

    Interpolation is linear between voxel centres. In the outer half of the outermost voxels their value is constant.
    Outside the CT the value is `AIR_HU`.

    Parameters
    ----------
    ct
        HU, [Z, Y, X], of any geometry.
    grid
        Grid of the PET, of any geometry.

    Returns
    -------
    Volume
        HU, float32 [Z, Y, X], on `grid`. A CT that is on this grid already is not copied.

    Raises
    ------
    UserError
        As `require_overlap`.
    """
    if ct.geometry == grid:
        return ct
    if ct.geometry.size_xyz == grid.size_xyz and np.allclose(
        ct.geometry.corners_mm, grid.corners_mm, rtol=0, atol=SAME_GRID_MM
    ):
        return Volume(ct.array_zyx, grid)
    require_overlap(ct.geometry, grid)
    return resample(ct, grid, outside=AIR_HU)


def resample(volume: Volume, grid: Geometry, *, outside: float) -> Volume:
    """Resample a volume to another grid by patient coordinates, with linear interpolation.

    Parameters
    ----------
    volume
        [Z, Y, X], of any geometry.
    grid
        Grid of any geometry.
    outside
        Value beyond the outer faces of the outermost voxels.

    Returns
    -------
    Volume
        float32 [Z, Y, X], on `grid`.
    """
    import SimpleITK as sitk

    from swfastedit_core.files.formats import to_image

    image = to_image(volume)
    resampled = sitk.Resample(
        image,
        grid.size_xyz,
        sitk.Transform(),
        sitk.sitkLinear,
        grid.origin_mm,
        grid.spacing_mm,
        grid.direction,
        outside,
        sitk.sitkFloat32,
    )
    del image  # frees memory before the next copy
    return Volume(sitk.GetArrayFromImage(resampled), grid)


def require_overlap(ct: Geometry, grid: Geometry, *, source: str = "the CT") -> None:
    """Refuse a CT that does not overlap the PET: the resampled CT would be air everywhere.

    Parameters
    ----------
    ct, grid
        Geometries of the CT and of the PET.
    source
        Name of the CT, for the message.

    Raises
    ------
    UserError
        If the whole PET is outside one of the six faces of the CT.
    """
    corners_mm = grid.corners_mm
    index_xyz = (corners_mm - ct.origin_mm) @ ct.axes_lps / ct.spacing_mm
    before, after = index_xyz.max(axis=0) < -0.5, index_xyz.min(axis=0) > np.array(ct.size_xyz) - 0.5
    if before.any() or after.any():
        raise UserError(
            f"{source}: lies {_extent(ct.corners_mm)} and the PET {_extent(corners_mm)}, without overlap, "
            "expected two images of one patient in the same coordinates"
        )


def share_inside(points_mm: np.ndarray, grid: Geometry) -> float:
    """Return the share of points that lie within the outer faces of a grid.

    Parameters
    ----------
    points_mm
        Patient coordinates, [N, 3] with N above 0.
    grid
        Of any geometry.
    """
    index_xyz = (points_mm - grid.origin_mm) @ grid.axes_lps / grid.spacing_mm
    inside = ((index_xyz >= -0.5) & (index_xyz <= np.array(grid.size_xyz) - 0.5)).all(axis=1)
    return float(np.count_nonzero(inside)) / len(inside)


def _extent(corners_mm: np.ndarray) -> str:
    """Describe a grid's extent in the patient, for a message."""
    low, high = (", ".join(f"{mm:.0f}" for mm in corner) for corner in (corners_mm.min(axis=0), corners_mm.max(axis=0)))
    return f"from ({low}) to ({high}) mm"
