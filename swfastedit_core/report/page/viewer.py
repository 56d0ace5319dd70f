"""The viewer of a report: NiiVue with PET and lesions inside of the page (`--viewer`)."""

from __future__ import annotations

import base64
import itertools
import math
import re

import numpy as np
from isal import igzip
from markupsafe import Markup

from swfastedit_core.report.page import niivue
from swfastedit_core.report.page.templates import render
from swfastedit_core.volume import Geometry, Volume

CELL_MM = 4.0
MAX_CELLS = 14_000_000  # a graphics card takes 8 bytes a cell
STEPS = 255  # of SUV, as uint8
LAST_NUMBER = 32767  # of a lesion, as int16; higher ones become this one
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIFTI_HEADER = np.dtype(
    [
        *[("size", "<i4"), ("unused", "V36"), ("dim", "<i2", 8), ("intent", "<f4", 3), ("intent_code", "<i2")],
        *[("datatype", "<i2"), ("bitpix", "<i2"), ("slice_start", "<i2"), ("pixdim", "<f4", 8)],
        *[("vox_offset", "<f4"), ("slope", "<f4"), ("intercept", "<f4"), ("slices", "V3"), ("units", "u1")],
        *[("cal_max", "<f4"), ("cal_min", "<f4"), ("times", "<f4", 2), ("limits", "<i4", 2), ("description", "S80")],
        *[("aux_file", "S24"), ("qform_code", "<i2"), ("sform_code", "<i2"), ("qform", "<f4", 6)],
        *[("srow", "<f4", (3, 4)), ("intent_name", "S16"), ("magic", "S4"), ("extension", "V4")],
    ]
)  # https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
NIFTI_TYPES = {"uint8": 2, "int16": 4}


def viewer_section(pet: Volume, numbers_zyx: np.ndarray, *, suv_window: tuple[float, float] = (0.0, 10.0)) -> Markup:
    """Return the section of a page: NiiVue, PET and lesions.

    Both are reduced to cells of about 4 mm; a cell has the highest value of its voxels.

    Parameters
    ----------
    pet
        SUV. NaN becomes 0.
    numbers_zyx
        Number of the lesion of each voxel, 0 outside, integers [Z, Y, X]. Without lesions the PET is shown alone.
    suv_window
        SUV shown white and black. Values outside are cut off.

    Returns
    -------
    Markup
        About 2.3 MB, and as much as 9 MB for a scan of 400×400×326 voxels.

    Raises
    ------
    UserError
        If NiiVue was not fetched; `niivue.read` tells it before the work.
    """
    code = niivue.read()
    factors_xyz = cell_factors(pet.geometry)
    geometry = reduced_geometry(pet.geometry, factors_xyz)
    low, high = suv_window
    step = (high - low) / STEPS
    suv = largest(_quantised(pet.array_zyx, low=low, step=step), factors_xyz)
    numbers = largest(numbers_zyx, factors_xyz)
    numbers = np.minimum(numbers, LAST_NUMBER)
    numbers = numbers.astype(np.uint8 if numbers.max(initial=0) < 256 else np.int16)
    spots = hottest_cells(suv, numbers, geometry)
    page = render(
        "swfastedit_core.report.page",
        "viewer.html.jinja",
        code=Markup(_for_a_page(code)),
        version=niivue.VERSION,
        pet=encode_nifti(suv, geometry, slope=step, intercept=low),
        lesions=encode_nifti(numbers, geometry) if spots else "",
        settings={"low": low, "high": high, "spots": spots},
        cell_mm=[round(mm, 1) for mm in geometry.spacing_mm] if max(factors_xyz) > 1 else None,
    )
    return Markup(page)


def cell_factors(geometry: Geometry) -> tuple[int, int, int]:
    """Return how many voxels along x, y, z make a cell of about 4 mm; more if there would be too many cells."""
    factors = [max(1, round(CELL_MM / mm)) for mm in geometry.spacing_mm]
    while math.prod(-(-size // factor) for size, factor in zip(geometry.size_xyz, factors, strict=True)) > MAX_CELLS:
        cells_mm = [factor * mm for factor, mm in zip(factors, geometry.spacing_mm, strict=True)]
        factors[cells_mm.index(min(cells_mm))] += 1
    return factors[0], factors[1], factors[2]


def reduced_geometry(geometry: Geometry, factors_xyz: tuple[int, int, int]) -> Geometry:
    """Return the grid of cells; the last cell of an axis may reach beyond the last voxel."""
    factors = np.array(factors_xyz)
    spacing = np.array(geometry.spacing_mm)
    origin = geometry.axes_lps @ (spacing * (factors - 1) / 2) + geometry.origin_mm
    size = -(-np.array(geometry.size_xyz) // factors)
    return Geometry(
        (int(size[0]), int(size[1]), int(size[2])),
        (float(spacing[0] * factors[0]), float(spacing[1] * factors[1]), float(spacing[2] * factors[2])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        geometry.direction,
    )


def largest(array_zyx: np.ndarray, factors_xyz: tuple[int, int, int]) -> np.ndarray:
    """Return the largest value of each cell, [Z, Y, X]; cells at the end of an axis may have fewer voxels."""
    for axis, factor in zip((2, 1, 0), factors_xyz, strict=True):
        parts = [array_zyx[(slice(None),) * axis + (slice(first, None, factor),)] for first in range(factor)]
        cells = parts[0].copy()
        for part in itertools.islice(parts, 1, None):
            here = cells[tuple(slice(size) for size in part.shape)]
            np.maximum(here, part, out=here)
        array_zyx = cells
    return array_zyx


def hottest_cells(suv: np.ndarray, numbers: np.ndarray, geometry: Geometry) -> dict[int, list[float]]:
    """Return, for each lesion, the centre of the cell with its highest value: R, A, S in mm."""
    where = np.flatnonzero(numbers)
    lesion, value = numbers.ravel()[where], suv.ravel()[where]
    order = np.lexsort((-value.astype(np.int32), lesion))
    kept, first = np.unique(lesion[order], return_index=True)
    zyx = np.unravel_index(where[order][first], suv.shape)
    cells = np.stack([*zyx[::-1], np.ones_like(first)])
    centres = (affine_ras(geometry) @ cells)[:3].T.round(2)
    return dict(zip(kept.tolist(), centres.tolist(), strict=True))


def affine_ras(geometry: Geometry) -> np.ndarray:
    """Return the matrix from voxels x, y, z to R, A, S in mm, float64 [4, 4]."""
    affine = np.eye(4)
    affine[:3, :3] = geometry.axes_lps * geometry.spacing_mm
    affine[:3, 3] = geometry.origin_mm
    result: np.ndarray = LPS_TO_RAS @ affine
    return result


def encode_nifti(array_zyx: np.ndarray, geometry: Geometry, *, slope: float = 1.0, intercept: float = 0.0) -> str:
    """Return a volume of uint8 or int16 as NIfTI, compressed, in base64.

    A stored value v means v * slope + intercept. The header has the grid as an sform in RAS.
    """
    header = np.zeros((), NIFTI_HEADER)
    header["size"], header["magic"], header["vox_offset"] = 348, b"n+1", NIFTI_HEADER.itemsize
    header["dim"] = (3, *geometry.size_xyz, 1, 1, 1, 1)
    header["datatype"], header["bitpix"] = NIFTI_TYPES[array_zyx.dtype.name], array_zyx.dtype.itemsize * 8
    header["pixdim"] = (1, *geometry.spacing_mm, 0, 0, 0, 0)
    header["slope"], header["intercept"], header["units"] = slope, intercept, 2  # mm
    header["srow"], header["sform_code"] = affine_ras(geometry)[:3], 1
    voxels = np.ascontiguousarray(array_zyx, array_zyx.dtype.newbyteorder("<"))
    packed = igzip.compress(header.tobytes() + voxels.tobytes(), compresslevel=3)
    return base64.b64encode(packed).decode()


def _quantised(suv: np.ndarray, *, low: float, step: float) -> np.ndarray:
    """Return SUV in steps, uint8; in slabs, because a copy of the scan in float32 takes much memory."""
    steps = np.empty(suv.shape, np.uint8)
    for slab, out in zip(suv, steps, strict=True):
        scaled = (np.nan_to_num(slab, nan=0.0) - low) / step
        np.rint(np.clip(scaled, 0, STEPS), out=scaled)
        out[:] = scaled
    return steps


def _for_a_page(code: str) -> str:
    """Return code that a browser does not take for the end of its script, with the same meaning in its strings."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", code, flags=re.IGNORECASE)
