"""Lesions: how many, where, how large, of what shape and how hot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.build import Region
from swfastedit_core.phantom.growth import draw_solid, radius_of_ml, recovery
from swfastedit_core.phantom.scanner import Placed, activity_at, placed
from swfastedit_core.phantom.shapes import Clipped, Shape, Waves, draw_waves
from swfastedit_core.phantom.sites import DISEASES, Disease, Station
from swfastedit_core.phantom.space import Box, Points, Vector, as_vector

MAX_LESIONS = 30
MIN_ML = 0.3
REFERENCE_FWHM_MM = 6.0  # resolution for which small lesions are made hot enough to be seen
SUV_LIMIT = 45.0
HOT_SUV = 6.0  # no lesion is put into what is hotter than that


@dataclass(frozen=True)
class Lesion:
    """A lesion as it was put into the patient.

    Attributes
    ----------
    centre_mm
        Its middle, LPS.
    site
        Name of the place, such as "neck node" or "liver".
    volume_ml
        Volume of the solid.
    suv
        Mean uptake of its living part, before blur.
    suv_around
        Mean uptake of what surrounds it, before blur.
    shape
        The outlined solid, a necrotic core included.
    core
        Necrotic core with little uptake, None for most.
    texture
        Variation of the uptake inside, None for small ones.
    """

    centre_mm: Vector
    site: str
    volume_ml: float
    suv: float
    suv_around: float
    shape: Shape
    core: Shape | None
    texture: Waves | None

    @property
    def regions(self) -> tuple[Region, ...]:
        """What to paint over the healthy body."""
        living = Region(self.site, self.suv, (self.shape,), self.texture)
        if self.core is None:
            return (living,)
        return living, Region(self.site, self.suv_around * 0.8 + self.suv * 0.1, (self.core,))


def draw_lesion_count(rng: np.random.Generator) -> int:
    """Draw 0 for 22 in 100 patients, else mostly few and at most 30 (median 3)."""
    if rng.random() < 0.22:
        return 0
    return int(np.clip(round(rng.lognormal(1.1, 1.05)), 1, MAX_LESIONS))


def draw_lesions(
    rng: np.random.Generator,
    *,
    count: int,
    stations: Sequence[Station],
    healthy: Sequence[Region],
    body: Shape,
    levels_mm: tuple[float, float],
) -> tuple[Lesion, ...]:
    """Draw lesions of one disease that do not overlap and do not sit in hot healthy tissue.

    Parameters
    ----------
    rng
        Source of chance.
    count
        How many.
    stations
        Where lesions can be.
    healthy
        The body without them.
    body
        What they may not leave.
    levels_mm
        Lowest and highest patient z that the scan covers.
    """
    low, high = levels_mm
    disease = DISEASES[int(rng.integers(len(DISEASES)))]
    weights = np.array([disease.weight(station) for station in stations])
    parts = placed(healthy)
    lesions: list[Lesion] = []
    shrink = 1.0
    while len(lesions) < count:
        station = stations[int(rng.choice(len(stations), p=weights / weights.sum()))]
        volume_ml = float(np.clip(station.median_ml * rng.lognormal(0, 1.15), 0, station.largest_ml)) * shrink
        centre = as_vector(np.array(station.centre_mm) + np.array(station.spread_mm) * rng.uniform(-1, 1, 3))
        volume_ml = max(volume_ml, MIN_ML * 1.25)
        solid = draw_solid(rng, centre_mm=centre, radius_mm=radius_of_ml(volume_ml), merged=station.nodal)
        box = solid.bounds
        # Boxes apart: generous, so that each lesion keeps a border of its own.
        free = not any(box.meets(other.shape.bounds) for other in lesions)
        lesion = None
        if free and box.low_mm[2] > low + 3 and box.high_mm[2] < high - 3:
            shape = Clipped(solid, body)
            lesion = _characterised(rng, shape=shape, station=station, disease=disease, healthy=parts)
        if lesion is not None and lesion.volume_ml > max(MIN_ML, 0.5 * volume_ml):
            lesions.append(lesion)
            shrink = 1.0
        else:
            shrink *= 0.93  # smaller and smaller ones find a place in the end
    return tuple(lesions)


def _characterised(
    rng: np.random.Generator, *, shape: Shape, station: Station, disease: Disease, healthy: Sequence[Placed]
) -> Lesion | None:
    """Measure a solid and its surroundings, and give it an uptake; None where the body itself is too hot."""
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
    seen = suv_around * contrast + float(rng.uniform(0.7, 1.8))
    suv = suv_around + (seen - suv_around) / max(recovery(radius_mm, fwhm_mm=REFERENCE_FWHM_MM), 0.25)
    core, texture = None, None
    if radius_mm > 9:
        texture = draw_waves(
            rng, amplitude=float(rng.uniform(0.1, 0.35)), wavelength_mm=max(14.0, 0.9 * radius_mm), count=6
        )
    if radius_mm > 14 and rng.random() < 0.45:
        hollow = draw_solid(rng, centre_mm=middle, radius_mm=radius_mm * float(rng.uniform(0.3, 0.65)), merged=False)
        core = Clipped(hollow, shape)
    return Lesion(middle, station.site, volume_ml, min(suv, SUV_LIMIT), suv_around, shape, core, texture)


def _lattice(bounds: Box, steps: int = 28) -> tuple[Points, float]:
    """Return a lattice of points that fills a box, and the volume of its cell in ml."""
    low, high = np.array(bounds.low_mm), np.array(bounds.high_mm)
    cell = (high - low) / steps
    x, y, z = (low[:, None] + (np.arange(steps) + 0.5) * cell[:, None]).astype(np.float32)
    return (x[None, None, :], y[None, :, None], z[:, None, None]), float(np.prod(cell)) / 1000.0
