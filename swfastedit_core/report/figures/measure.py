"""The figures of each lesion, in one pass over the voxels of all; the mesh of each in its own box."""

from __future__ import annotations

import numpy as np

from swfastedit_core.box import Box, triple
from swfastedit_core.report.figures.lesions import Foreground
from swfastedit_core.report.figures.shape import measure_shape
from swfastedit_core.report.figures.suv_peak import sphere_means
from swfastedit_core.report.record import Lesion, Point
from swfastedit_core.volume import Geometry, Volume


def measure_lesions(pet: Volume, numbers_zyx: np.ndarray, count: int) -> tuple[Lesion, ...]:
    """Measure each lesion, without its ratios to the liver.

    Parameters
    ----------
    pet
        SUV [Z, Y, X].
    numbers_zyx, count
        From `number_lesions`, on the same grid.

    Returns
    -------
    tuple of Lesion
        By number; empty without lesions.
    """
    if not count:
        return ()
    grid, voxels = pet.geometry, Foreground.of(numbers_zyx, count)
    suv = pet.array_zyx[tuple(voxels.index_zyx.T)].astype(np.float64)
    sizes = np.bincount(voxels.lesion, minlength=count)
    means, highest = voxels.mean(suv), voxels.highest(suv)
    peaks = voxels.highest(sphere_means(pet, voxels.index_zyx))
    centroids_xyz = np.stack([voxels.mean(voxels.index_zyx[:, axis]) for axis in (2, 1, 0)], axis=1)
    centroids_mm = to_patient_mm(centroids_xyz, grid)
    lesions = []
    for lesion, box_zyx in enumerate(voxels.boxes_zyx()):
        mask_zyx = numbers_zyx[box_zyx] == lesion + 1
        shape = measure_shape(mask_zyx, spacing_zyx_mm=grid.spacing_mm[::-1])
        box = Box(triple(side.start for side in box_zyx[::-1]), triple(side.stop for side in box_zyx[::-1]))
        volume_ml = float(sizes[lesion] * grid.voxel_ml)
        lesions.append(
            Lesion(
                number=lesion + 1,
                voxels=int(sizes[lesion]),
                volume_ml=volume_ml,
                suv_max=float(highest[lesion]),
                suv_mean=float(means[lesion]),
                suv_peak=float(peaks[lesion]),
                tlg_g=float(means[lesion] * volume_ml),
                surface_mm2=shape.surface_mm2,
                sphericity=shape.sphericity,
                longest_diameter_mm=shape.longest_diameter_mm,
                centroid_mm=point(centroids_mm[lesion]),
                centroid_xyz=point(centroids_xyz[lesion]),
                box_mm=_box_mm(mask_zyx, box, grid),
                box=box,
            )
        )
    return tuple(lesions)


def to_patient_mm(index_xyz: np.ndarray, grid: Geometry) -> np.ndarray:
    """Return the patient coordinates (L, P, S) of positions in voxels along x, y, z, float64 [N, 3]."""
    patient_mm: np.ndarray = index_xyz * grid.spacing_mm @ grid.axes_lps.T + grid.origin_mm
    return patient_mm


def point(values: np.ndarray) -> Point:
    """Return three values as a tuple of float."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def _box_mm(mask_zyx: np.ndarray, box: Box, grid: Geometry) -> tuple[Point, Point]:
    """Return the lowest and the highest patient coordinates of the outer faces of voxels, of a mask in its box."""
    z, y = np.nonzero(mask_zyx.any(axis=2))  # rows along x: no voxel is farther out than the first or the last of a row
    first = mask_zyx.argmax(axis=2)[z, y]
    last = mask_zyx.shape[2] - 1 - mask_zyx[:, :, ::-1].argmax(axis=2)[z, y]
    ends_xyz = np.stack([np.concatenate([first, last]), np.tile(y, 2), np.tile(z, 2)], axis=1)
    ends_mm = to_patient_mm(ends_xyz + np.array(box.start), grid)
    half_mm = np.abs(grid.axes_lps) @ np.array(grid.spacing_mm) / 2  # of a voxel, along L, P, S
    return point(ends_mm.min(axis=0) - half_mm), point(ends_mm.max(axis=0) + half_mm)
