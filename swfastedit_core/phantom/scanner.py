"""Simulation of the scan: activity map on a grid, blur, noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.phantom.anatomy import Region
from swfastedit_core.phantom.shapes import Shape
from swfastedit_core.phantom.space import Array, Bounds, Points
from swfastedit_core.volume import Geometry

FWHM_PER_SIGMA = 2.0 * float(np.sqrt(2.0 * np.log(2.0)))
BLOCK_VOXELS = 1_000_000  # voxels that are painted at a time; temporary arrays need a few MB
Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Scanner:
    """Resolution and noise of a scanner.

    Attributes
    ----------
    fwhm_mm
        Full width at half maximum of the point spread function, reconstruction filter included.
    noise
        Standard deviation at an SUV of 1 in the middle of the axial field; it grows with the square root of the SUV.
        0 means no noise.
    noise_fwhm_mm
        FWHM of the filter that correlates the noise.
    edge_mm
        Length at both ends of the axial field in which the sensitivity falls to a quarter.
    """

    fwhm_mm: float = 6.0
    noise: float = 0.15
    noise_fwhm_mm: float = 5.0
    edge_mm: float = 60.0


def sample_scanner(rng: np.random.Generator, *, fat_mm: float) -> Scanner:
    """Sample a clinical scanner: FWHM 4.5 to 8 mm in the image; more noise in heavy patients."""
    fwhm_mm = float(rng.uniform(4.5, 8.0))
    noise = float(np.exp(rng.uniform(np.log(0.08), np.log(0.24)))) * (0.8 + fat_mm / 60)
    return Scanner(fwhm_mm, noise, fwhm_mm * float(rng.uniform(0.7, 1.0)), float(rng.uniform(35, 80)))


def activity_map(regions: Iterable[Region], geometry: Geometry) -> Array:
    """Paint regions in their order, with soft edges one voxel wide. A later region covers earlier ones.

    Returns
    -------
    ndarray
        SUV, float32 [Z, Y, X].
    """
    activity = np.zeros(geometry.shape_zyx, np.float32)
    step_mm = float(np.prod(geometry.spacing_mm)) ** (1 / 3)
    for region in regions:
        for part in region.parts:
            for block, points in _blocks(part.bounds.grown(step_mm), geometry):
                _paint(activity[block], region, part.distance_mm(points), points, step_mm)
    return activity


@dataclass(frozen=True)
class PlacedPart:
    """A part of a region with its bounds, which are computed once for many calls of `activity_at`."""

    region: Region
    part: Shape
    bounds: Bounds


def place_parts(regions: Iterable[Region]) -> tuple[PlacedPart, ...]:
    """Return the parts of all regions with their bounds, in the order of painting."""
    return tuple(PlacedPart(region, part, part.bounds) for region in regions for part in region.parts)


def activity_at(parts: Iterable[PlacedPart], points: Points, bounds: Bounds) -> Array:
    """Return the SUV at points within bounds, float32, with soft edges 3 mm wide."""
    activity = np.zeros(np.broadcast_shapes(*(p.shape for p in points)), np.float32)
    for placed_part in parts:
        if placed_part.bounds.meets(bounds):
            _paint(activity, placed_part.region, placed_part.part.distance_mm(points), points, 3.0)
    return activity


def rasterize(shape: Shape, geometry: Geometry) -> tuple[Block, np.ndarray] | None:
    """Return the voxels whose centre is in a shape; if there is none, the voxel nearest to the shape.

    Returns
    -------
    tuple or None
        A block of the grid and its mask, bool [Z, Y, X]; None if the shape is outside the grid.
    """
    rasterized = None
    for block, points in _blocks(shape.bounds, geometry, limit=2**62):
        distance = np.broadcast_to(shape.distance_mm(points), tuple(s.stop - s.start for s in block))
        mask = distance <= 0
        reach_mm = max(geometry.spacing_mm) / 2
        if not mask.any() and distance.min() <= reach_mm:
            mask = distance == distance.min()
        rasterized = (block, mask) if mask.any() else None
    return rasterized


def blur(activity: Array, *, fwhm_mm: float, spacing_mm: tuple[float, float, float]) -> Array:
    """Convolve [Z, Y, X] with a Gaussian that is isotropic in mm. The border is extended by its nearest values."""
    sigmas_zyx = [fwhm_mm / FWHM_PER_SIGMA / step for step in spacing_mm[::-1]]
    result: Array = ndimage.gaussian_filter(activity, sigmas_zyx, mode="nearest", output=np.float32, truncate=3.5)
    return result


def add_noise(pet: Array, geometry: Geometry, *, scanner: Scanner, rng: np.random.Generator) -> Array:
    """Add correlated noise of variance ``noise² · SUV / sensitivity``; no value falls below 0.

    Counts are proportional to SUV · sensitivity, so the variance of the SUV is proportional to SUV / sensitivity. The
    relative noise is larger where counts are low.
    """
    sigmas_zyx = [scanner.noise_fwhm_mm / FWHM_PER_SIGMA / step for step in geometry.spacing_mm[::-1]]
    grain = rng.standard_normal(geometry.shape_zyx, dtype=np.float32)
    grain = ndimage.gaussian_filter(grain, sigmas_zyx, mode="wrap", output=np.float32, truncate=3.0)
    grain *= scanner.noise / np.prod(
        [_damping(sigma, n) for sigma, n in zip(sigmas_zyx, geometry.shape_zyx, strict=True)]
    )
    for k in range(geometry.shape_zyx[0]):  # slice by slice, so that no third volume is in memory
        _, _, z = _points((slice(k, k + 1), slice(0, geometry.size_xyz[1]), slice(0, geometry.size_xyz[0])), geometry)
        sensitivity = _sensitivity(z, geometry, edge_mm=scanner.edge_mm)
        # At least the noise of 0.001 SUV: random coincidences cause some noise in air.
        grain[k] *= np.sqrt((pet[k] + np.float32(0.001)) / sensitivity[0])
        grain[k] += pet[k]
    result: Array = np.maximum(grain, 0, out=grain)
    return result


def _sensitivity(z: Array, geometry: Geometry, *, edge_mm: float) -> Array:
    """Return the sensitivity: 1 in the middle of the axial field, falling linearly to a quarter at its ends."""
    low, high = axial_range_mm(geometry)
    inside = np.minimum(z - low, high - z) / max(edge_mm, 1e-3)
    sensitivity: Array = np.clip(0.25 + 0.75 * inside, 0.25, 1).astype(np.float32)
    return sensitivity


def axial_range_mm(geometry: Geometry) -> tuple[float, float]:
    """Return the lowest and the highest patient z of the voxel centres of a grid."""
    steps = geometry.axes_lps[2] * geometry.spacing_mm * (np.array(geometry.size_xyz) - 1)
    low = geometry.origin_mm[2] + float(np.minimum(steps, 0).sum())
    return low, low + float(np.abs(steps).sum())


def _damping(sigma: float, size: int) -> float:
    """Return the standard deviation of unit white noise after the filter along one axis."""
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    return float(np.sqrt((ndimage.gaussian_filter1d(impulse, sigma, mode="wrap", truncate=3.0) ** 2).sum()))


def _paint(target: Array, region: Region, distance_mm: Array, points: Points, step_mm: float) -> None:
    cover = np.clip(np.float32(0.5) - distance_mm * np.float32(1 / step_mm), 0, 1)
    if region.texture is None:
        target += cover * (np.float32(region.suv) - target)
    else:
        suv = np.float32(region.suv) * np.maximum(1 + region.texture.at(points), np.float32(0.1))
        target += cover * (suv - target)


def _blocks(bounds: Bounds, geometry: Geometry, *, limit: int = BLOCK_VOXELS) -> Iterator[tuple[Block, Points]]:
    """Yield blocks that cover the bounds. A block has at most `limit` voxels, but at least one slice."""
    low, high = np.array(bounds.low_mm), np.array(bounds.high_mm)
    to_index = geometry.axes_lps.T / np.array(geometry.spacing_mm)[:, None]
    middle = to_index @ ((low + high) / 2 - geometry.origin_mm)
    reach = np.abs(to_index) @ ((high - low) / 2)
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach) + 1, geometry.size_xyz).astype(int)
    if (first >= last).any():
        return
    (x0, y0, z0), (x1, y1, z1) = first.tolist(), last.tolist()
    thick = max(1, limit // ((x1 - x0) * (y1 - y0)))
    for start in range(z0, z1, thick):
        block = (slice(start, min(start + thick, z1)), slice(y0, y1), slice(x0, x1))
        yield block, _points(block, geometry)


def _points(block: Block, geometry: Geometry) -> Points:
    """Return the patient coordinates of the voxel centres of a block."""
    steps = geometry.axes_lps * geometry.spacing_mm
    k, j, i = (np.arange(s.start, s.stop, dtype=np.float64) for s in block)
    index = (i[None, None, :], j[None, :, None], k[:, None, None])
    axes = []
    for row, origin in zip(steps, geometry.origin_mm, strict=True):
        total = np.full((1, 1, 1), origin)
        for values, weight, size in zip(index, row, geometry.size_xyz, strict=True):
            if abs(weight) * size > 1e-3:  # mm; smaller values are rounding errors and would prevent broadcasting
                total = total + values * weight
        axes.append(total.astype(np.float32))
    return axes[0], axes[1], axes[2]
