"""Sampling of lesions: number, site, volume, shape, uptake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.anatomy import Region
from swfastedit_core.phantom.lesion_shapes import radius_of_ml, recovery, sample_shape
from swfastedit_core.phantom.lesion_sites import DISEASES, Disease, Site
from swfastedit_core.phantom.scanner import PlacedPart, activity_at, place_parts
from swfastedit_core.phantom.shapes import Intersection, Shape
from swfastedit_core.phantom.smooth_noise import SmoothNoise, sample_noise
from swfastedit_core.phantom.space import Bounds, Points, Vector, as_vector

MAX_LESIONS = 30
MIN_ML = 0.3
REFERENCE_FWHM_MM = 6.0  # the uptake of small lesions is raised so that they are visible at this resolution
SUV_LIMIT = 45.0
HOT_SUV = 6.0  # no lesion is placed in tissue with a higher SUV


@dataclass(frozen=True)
class Lesion:
    """A lesion of a patient.

    Attributes
    ----------
    centre_mm
        Centre of mass, LPS.
    site
        Name of the site, such as "neck node" or "liver".
    volume_ml
        Volume of the solid.
    suv
        Mean SUV outside the necrotic core, before blur.
    suv_around
        Median SUV around the lesion, before blur.
    shape
        The solid, necrotic core included.
    core
        Necrotic core with little uptake; None in most lesions.
    texture
        Relative variation of the uptake inside; None in small lesions.
    """

    centre_mm: Vector
    site: str
    volume_ml: float
    suv: float
    suv_around: float
    shape: Shape
    core: Shape | None
    texture: SmoothNoise | None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions to paint over the healthy body."""
        viable = Region(self.site, self.suv, (self.shape,), self.texture)
        if self.core is None:
            return (viable,)
        return viable, Region(self.site, self.suv_around * 0.8 + self.suv * 0.1, (self.core,))


def sample_lesion_count(rng: np.random.Generator) -> int:
    """Sample a number of lesions: 0 in 22 of 100 patients; otherwise 1 to 30, median 3."""
    if rng.random() < 0.22:
        return 0
    return int(np.clip(round(rng.lognormal(1.1, 1.05)), 1, MAX_LESIONS))


def sample_lesions(
    rng: np.random.Generator,
    *,
    count: int,
    sites: Sequence[Site],
    healthy: Sequence[Region],
    body: Shape,
    z_range_mm: tuple[float, float],
) -> tuple[Lesion, ...]:
    """Sample lesions of one disease that do not overlap and do not lie in hot healthy tissue.

    Parameters
    ----------
    rng
        Random number generator.
    count
        Number of lesions.
    sites
        Sites of the patient.
    healthy
        Regions of the body without lesions.
    body
        Lesions are clipped to this solid.
    z_range_mm
        Lowest and highest patient z that the scan covers.
    """
    low, high = z_range_mm
    disease = DISEASES[int(rng.integers(len(DISEASES)))]
    weights = np.array([disease.weight(site) for site in sites])
    parts = place_parts(healthy)
    lesions: list[Lesion] = []
    shrink = 1.0
    while len(lesions) < count:
        site = sites[int(rng.choice(len(sites), p=weights / weights.sum()))]
        volume_ml = float(np.clip(site.median_ml * rng.lognormal(0, 1.15), 0, site.largest_ml)) * shrink
        centre = as_vector(np.array(site.centre_mm) + np.array(site.spread_mm) * rng.uniform(-1, 1, 3))
        volume_ml = max(volume_ml, MIN_ML * 1.25)
        solid = sample_shape(rng, centre_mm=centre, radius_mm=radius_of_ml(volume_ml), merged=site.nodal)
        box = solid.bounds
        # Bounds are disjoint, so that lesions do not touch.
        free = not any(box.meets(other.shape.bounds) for other in lesions)
        lesion = None
        if free and box.low_mm[2] > low + 3 and box.high_mm[2] < high - 3:
            shape = Intersection(solid, body)
            lesion = _lesion_of_shape(rng, shape=shape, site=site, disease=disease, healthy=parts)
        if lesion is not None and lesion.volume_ml > max(MIN_ML, 0.5 * volume_ml):
            lesions.append(lesion)
            shrink = 1.0
        else:
            shrink *= 0.93  # until a lesion fits
    return tuple(lesions)


def _lesion_of_shape(
    rng: np.random.Generator, *, shape: Shape, site: Site, disease: Disease, healthy: Sequence[PlacedPart]
) -> Lesion | None:
    """Return a lesion of this shape, with an uptake that follows its surroundings; None if the tissue is too hot."""
    surroundings = shape.bounds.grown(6.0)
    points, cell_ml = _lattice(surroundings)
    distance = shape.distance_mm(points)
    inside = distance <= 0
    if not inside.any():
        return None
    suv_healthy = activity_at(healthy, points, surroundings)
    suv_around = float(np.median(suv_healthy[(distance > 1) & (distance < 6)]))
    if np.mean(suv_healthy[inside] > HOT_SUV) > 0.2 or suv_around > HOT_SUV:
        return None
    volume_ml = float(np.count_nonzero(inside)) * cell_ml
    radius_mm = radius_of_ml(volume_ml)
    middle = as_vector(np.array([np.broadcast_to(p, distance.shape)[inside].mean() for p in points]))
    contrast = float(np.clip(rng.lognormal(np.log(disease.contrast), 0.55), 1.6, 30))
    visible_suv = suv_around * contrast + float(rng.uniform(0.7, 1.8))
    suv = suv_around + (visible_suv - suv_around) / max(recovery(radius_mm, fwhm_mm=REFERENCE_FWHM_MM), 0.25)
    core, texture = None, None
    if radius_mm > 9:
        texture = sample_noise(
            rng, amplitude=float(rng.uniform(0.1, 0.35)), wavelength_mm=max(14.0, 0.9 * radius_mm), count=6
        )
    if radius_mm > 14 and rng.random() < 0.45:
        necrosis = sample_shape(
            rng, centre_mm=middle, radius_mm=radius_mm * float(rng.uniform(0.3, 0.65)), merged=False
        )
        core = Intersection(necrosis, shape)
    return Lesion(middle, site.name, volume_ml, min(suv, SUV_LIMIT), suv_around, shape, core, texture)


def _lattice(bounds: Bounds, steps: int = 28) -> tuple[Points, float]:
    """Return a regular lattice of points in a box, and the volume of a lattice cell in ml."""
    low, high = np.array(bounds.low_mm), np.array(bounds.high_mm)
    cell = (high - low) / steps
    x, y, z = (low[:, None] + (np.arange(steps) + 0.5) * cell[:, None]).astype(np.float32)
    return (x[None, None, :], y[None, :, None], z[:, None, None]), float(np.prod(cell)) / 1000.0
