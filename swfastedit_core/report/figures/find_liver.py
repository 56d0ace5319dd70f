"""A place for the liver reference, found in the PET alone: a guess, for the user to check.

The liver is the largest region of even uptake in the trunk, right of the midline, below a lung. Where that does not
describe one region of the scan, there is no guess. Right and left are those of the file's header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from swfastedit_core.errors import UserError
from swfastedit_core.report.figures.cells import CellGrid
from swfastedit_core.report.figures.liver import RADIUS_MM, require_sphere_inside
from swfastedit_core.report.record import Point
from swfastedit_core.volume import Volume

BODY_SUV = 0.2
LIVER_SUV = (0.8, 5.0)  # wider than healthy livers: a wrong SUV must show in the mean, and not hide the liver
OVER_BODY = 1.5  # times the median uptake of the body
VARIATIONS = (0.1, 0.12, 0.15, 0.2, 0.25)  # SD / mean of cells in a sphere; the next one if the scan is noisier
LEAST_ML, LARGEST_SHARE = 300.0, 0.35  # volume of the region, and its share of the body
LEAST_TRUNK_MM, LEAST_TRUNK_CM2 = 240.0, 300.0  # width and area of the body at the levels of the liver
CUT_MM = 80.0  # length along which the edge of the image may cut the body there: an arm, not the trunk
FROM_MIDLINE_MM = 30.0  # the middle of the sphere lies in the right lobe
RIGHT_SHARE = 0.5  # of the middles; the liver is right of the midline for the most part
OTHER_SHARE = 0.5  # a second region of at least this share of the first one leaves the liver open
LESION_MARGIN_MM = 10.0
LUNG_OF_LIVER = (0.04, 0.45)  # share of the liver's uptake; air has less
LUNG_ABOVE_MM, LUNG_MM = 250.0, 30.0  # how far above the liver at most, and how high at least
COLUMN_MM = 25.0  # half width of the part above the liver in which the lung is looked for


@dataclass(frozen=True, eq=False)
class _Even:
    """Cells in the box around the body, [R, A, S].

    Attributes
    ----------
    suv, body
        Mean SUV of each cell; whether it belongs to the body.
    mean, variation
        Mean, and standard deviation / mean, of the cells in the sphere around each cell.
    free
        Cells of the body away from lesions.
    cut_mm
        Length along which the edge of the image cuts the body, by level [S].
    spacing_mm
        Sides of a cell.
    """

    suv: np.ndarray
    body: np.ndarray
    mean: np.ndarray
    variation: np.ndarray
    free: np.ndarray
    cut_mm: np.ndarray
    spacing_mm: np.ndarray

    @property
    def cell_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000.0


def find_liver(pet: Volume, mask_zyx: np.ndarray | None = None) -> tuple[Point | None, str]:
    """Find a place for the sphere.

    Parameters
    ----------
    pet
        SUV [Z, Y, X] in any orientation.
    mask_zyx
        Lesions, which the sphere keeps away from.

    Returns
    -------
    centre_mm : Point or None
        Patient coordinates (L, P, S); None if nothing in the scan is liver for certain.
    reason : str
        Why nothing was found; empty if something was.
    """
    grid = CellGrid.of(pet.geometry)
    suv = grid.mean(pet.array_zyx)
    lesions = np.zeros(suv.shape, bool) if mask_zyx is None else grid.mean(mask_zyx != 0) > 0
    tissue, count = ndimage.label(suv > BODY_SUV)
    if not count:
        return None, "no body is found"
    body = tissue == np.bincount(tissue.ravel())[1:].argmax() + 1
    box = ndimage.find_objects(body.view(np.uint8))[0]
    cells = _even(suv[box], body[box], lesions[box], _cut_mm(body, grid.spacing_mm)[box[2]], grid.spacing_mm)
    reason = ""
    for variation in VARIATIONS:
        region, reason = _liver_region(cells, cells.variation < variation)
        if region is not None:
            cell = _deepest(region, cells) + [side.start for side in box]
            centre_mm = grid.to_patient_mm(cell)
            return (None, "it is at the edge of the image") if _is_cut(centre_mm, pet) else (centre_mm, "")
    return None, reason


def _cut_mm(body: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return the length along which the edges of the image cut the body, by level."""
    x_mm, y_mm, _ = spacing_mm
    sides = (body[0].sum(axis=0) + body[-1].sum(axis=0)) * y_mm
    cut: np.ndarray = sides + (body[:, 0].sum(axis=0) + body[:, -1].sum(axis=0)) * x_mm
    return cut


def _even(suv: np.ndarray, body: np.ndarray, lesions: np.ndarray, cut_mm: np.ndarray, spacing_mm: np.ndarray) -> _Even:
    sphere = _sphere(spacing_mm, RADIUS_MM)
    sphere /= sphere.sum()
    mean = fftconvolve(suv, sphere, mode="same")
    square = fftconvolve(suv**2, sphere, mode="same")
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    near = np.zeros(suv.shape, bool)
    if lesions.any():
        near = fftconvolve(lesions, _sphere(spacing_mm, RADIUS_MM + LESION_MARGIN_MM), mode="same") > 0.5
    variation = np.where(mean > 0, deviation / np.maximum(mean, 1e-6), np.inf)
    return _Even(suv, body, mean, variation, body & ~near, cut_mm, spacing_mm)


def _liver_region(cells: _Even, even: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return the middles of spheres in the liver, bool [R, A, S]; or None and why there are none."""
    low, high = LIVER_SUV
    typical = OVER_BODY * float(np.median(cells.suv[cells.body]))
    middles, count = ndimage.label(even & cells.free & (cells.mean > max(low, typical)) & (cells.mean < high))
    sizes = np.bincount(middles.ravel(), minlength=count + 1)[1:]
    regions = []
    for number in np.argsort(-sizes, kind="stable")[:10]:
        region = middles == number + 1
        volume_ml = _grown_ml(region, cells)
        if volume_ml < LEAST_ML:
            break
        if _is_in_trunk(region, cells):
            regions.append((volume_ml, region))
    regions.sort(key=lambda pair: -pair[0])
    if not regions:
        return None, "no region of even uptake in the trunk is as large as a liver"
    volume_ml, region = regions[0]
    if volume_ml > LARGEST_SHARE * np.count_nonzero(cells.body) * cells.cell_ml:
        return None, "the uptake of the body is even: the liver does not stand out"
    if len(regions) > 1 and regions[1][0] >= OTHER_SHARE * volume_ml:
        return None, "several regions could be the liver"
    right = _right_part(region, cells)
    if np.count_nonzero(right) < RIGHT_SHARE * np.count_nonzero(region):
        return None, "the largest region of even uptake in the trunk is not right of the midline"
    if not _lung_is_above(region, cells):
        return None, "there is no lung above the largest region of even uptake in the trunk"
    return right, ""


def _grown_ml(region: np.ndarray, cells: _Even) -> float:
    """Return the volume of all spheres with these middles."""
    box = ndimage.find_objects(region.view(np.uint8))[0]
    margin = [int(np.ceil(RADIUS_MM / mm)) for mm in cells.spacing_mm]
    padded = np.pad(region[box], [(n, n) for n in margin])
    distance_mm = ndimage.distance_transform_edt(~padded, sampling=cells.spacing_mm)
    return float(np.count_nonzero(distance_mm <= RADIUS_MM)) * cells.cell_ml


def _levels(region: np.ndarray) -> np.ndarray:
    return np.flatnonzero(region.any(axis=(0, 1)))


def _right_part(region: np.ndarray, cells: _Even) -> np.ndarray:
    """Return the part of a region right of the midline of the body at its levels."""
    levels = _levels(region)
    across = np.flatnonzero(cells.body[:, :, levels[0] : levels[-1] + 1].any(axis=(1, 2)))
    weights = cells.body[:, :, levels[0] : levels[-1] + 1].sum(axis=(1, 2))[across]
    midline = float(np.average(across, weights=weights))
    part = region.copy()
    part[: int(np.ceil(midline + FROM_MIDLINE_MM / cells.spacing_mm[0]))] = False
    return part


def _is_in_trunk(region: np.ndarray, cells: _Even) -> bool:
    """Whether the body at the levels of a region is as large as a trunk, and the image holds it completely."""
    levels, (x_mm, y_mm, _) = _levels(region), cells.spacing_mm
    body = cells.body[:, :, levels]
    area_cm2 = float(np.median(body.sum(axis=(0, 1)))) * x_mm * y_mm / 100.0
    width_mm = float(np.median(body.any(axis=1).sum(axis=0))) * x_mm
    cut_mm = float(np.median(cells.cut_mm[levels]))
    return area_cm2 >= LEAST_TRUNK_CM2 and width_mm >= LEAST_TRUNK_MM and cut_mm <= CUT_MM


def _lung_is_above(region: np.ndarray, cells: _Even) -> bool:
    """Whether the uptake above the right part of a region falls far below its own, within the body."""
    middles = np.argwhere(_right_part(region, cells))
    middle, top = middles.mean(axis=0), int(middles[:, 2].max())
    sides = []
    for axis in (0, 1):
        half = COLUMN_MM / cells.spacing_mm[axis]
        sides.append(slice(max(0, int(middle[axis] - half)), int(middle[axis] + half) + 1))
    above = slice(top + 1, top + 1 + int(LUNG_ABOVE_MM / cells.spacing_mm[2]))
    column = cells.suv[sides[0], sides[1], above]
    if not column.size:
        return False
    body_ends = cells.body[:, sides[1], above].any(axis=1)  # beside the lung there is body at the same level
    of_liver = np.median(column, axis=(0, 1)) / float(cells.mean[region].mean())
    low, high = LUNG_OF_LIVER
    dark = (of_liver > low) & (of_liver < high) & body_ends.any(axis=0)
    runs, count = ndimage.label(dark)
    return bool(count) and float(np.bincount(runs)[1:].max() * cells.spacing_mm[2]) >= LUNG_MM


def _deepest(region: np.ndarray, cells: _Even) -> np.ndarray:
    """Return the cell of a region farthest from its border; of several the one with the least variation."""
    depth_mm = ndimage.distance_transform_edt(np.pad(region, 1), sampling=cells.spacing_mm)[1:-1, 1:-1, 1:-1]
    candidates = np.argwhere(depth_mm >= 0.8 * depth_mm.max())
    best: np.ndarray = candidates[cells.variation[tuple(candidates.T)].argmin()]
    return best


def _sphere(spacing_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """Return 1 in the cells whose middles lie in a sphere, 0 elsewhere, float32."""
    reach = [int(radius_mm / mm) for mm in spacing_mm]
    axes = [np.arange(-n, n + 1) * mm for n, mm in zip(reach, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside: np.ndarray = x**2 + y**2 + z**2 <= radius_mm**2
    return inside.astype(np.float32)


def _is_cut(centre_mm: Point, pet: Volume) -> bool:
    try:
        require_sphere_inside(centre_mm, pet.geometry)
    except UserError:
        return True
    return False
