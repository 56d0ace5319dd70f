"""Lesions: how many, where, how large, of what shape and how hot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np

from swfastedit_core.phantom.body import Region
from swfastedit_core.phantom.scanner import FWHM_PER_SIGMA, activity_at
from swfastedit_core.phantom.shapes import (
    Array,
    Box,
    Clipped,
    Ellipsoid,
    Lumpy,
    Points,
    Shape,
    Union,
    Vector,
    as_vector,
    draw_waves,
    turned,
)
from swfastedit_core.phantom.sites import DISEASES, Disease, Station

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
    """

    centre_mm: Vector
    site: str
    volume_ml: float
    suv: float
    suv_around: float
    shape: Shape
    core: Shape | None

    @property
    def regions(self) -> list[Region]:
        """What to paint over the healthy body."""
        radius_mm = _radius_mm(self.volume_ml)
        seed = np.random.Generator(np.random.PCG64(int(self.volume_ml * 1e6)))
        texture = (
            draw_waves(seed, amplitude=0.18, wavelength_mm=max(12.0, radius_mm)) if radius_mm > 9 else None
        )
        living = Region(self.site, self.suv, (self.shape,), texture)
        return (
            [living]
            if self.core is None
            else [living, Region(self.site, self.suv_around * 0.8, (self.core,))]
        )


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
    reachable = [
        s
        for s in stations
        if low + 12 < s.centre_mm[2] - s.spread_mm[2] and s.centre_mm[2] + s.spread_mm[2] < high - 12
    ]
    disease = DISEASES[int(rng.integers(len(DISEASES)))]
    weights = np.array([disease.weight(s) for s in reachable])
    lesions: list[Lesion] = []
    shrink = 1.0
    while len(lesions) < count:
        station = reachable[int(rng.choice(len(reachable), p=weights / weights.sum()))]
        lesion = _draw_lesion(
            rng, station=station, disease=disease, shrink=shrink, healthy=healthy, body=body
        )
        if lesion is not None and low + 6 < lesion.centre_mm[2] < high - 6 and not _touches(lesion, lesions):
            lesions.append(lesion)
            shrink = 1.0
        else:
            shrink *= 0.93  # smaller and smaller ones find a place in the end
    return tuple(lesions)


def recovery(radius_mm: float, *, fwhm_mm: float) -> float:
    """Peak of a sphere of contrast 1 after a Gaussian blur, between 0 and 1 (Kessler et al., JCAT 1984)."""
    ratio = radius_mm * FWHM_PER_SIGMA / fwhm_mm
    return erf(ratio / sqrt(2)) - sqrt(2 / pi) * ratio * exp(-ratio * ratio / 2)


def _draw_lesion(
    rng: np.random.Generator,
    *,
    station: Station,
    disease: Disease,
    shrink: float,
    healthy: Sequence[Region],
    body: Shape,
) -> Lesion | None:
    """Draw one lesion at a station; None if it finds no place there."""
    wanted_ml = float(
        np.clip(station.median_ml * rng.lognormal(0, 1.15) * shrink, MIN_ML * 1.25, station.largest_ml)
    )
    radius_mm = _radius_mm(wanted_ml)
    centre = as_vector(np.array(station.centre_mm) + np.array(station.spread_mm) * rng.uniform(-1, 1, 3))
    solid = _draw_shape(rng, centre=centre, radius_mm=radius_mm, conglomerate=station.nodal)
    shape = Clipped(solid, body)
    points, cell_ml = _lattice(shape.bounds.grown(6.0))
    distance = shape.distance_mm(points)
    inside = distance <= 0
    volume_ml = float(np.count_nonzero(inside)) * cell_ml
    if volume_ml < max(MIN_ML, 0.5 * wanted_ml):
        return None
    suv_healthy = activity_at(healthy, points, shape.bounds.grown(6.0))
    around = suv_healthy[(distance > 1) & (distance < 6)]
    suv_around = float(np.median(around)) if around.size else 0.5
    if np.mean(suv_healthy[inside] > HOT_SUV) > 0.2 or suv_around > HOT_SUV:
        return None
    contrast = float(np.exp(rng.normal(np.log(disease.contrast), 0.55)))
    seen = suv_around * float(np.clip(contrast, 1.6, 30)) + float(rng.uniform(0.4, 1.2))
    suv = suv_around + (seen - suv_around) / max(recovery(radius_mm, fwhm_mm=REFERENCE_FWHM_MM), 0.25)
    core = None
    if radius_mm > 14 and rng.random() < 0.45:
        core = _draw_shape(
            rng, centre=centre, radius_mm=radius_mm * float(rng.uniform(0.3, 0.6)), conglomerate=False
        )
    middle = as_vector(np.array([np.broadcast_to(p, distance.shape)[inside].mean() for p in points]))
    return Lesion(middle, station.site, volume_ml, min(suv, SUV_LIMIT), suv_around, shape, core)


def _draw_shape(rng: np.random.Generator, *, centre: Vector, radius_mm: float, conglomerate: bool) -> Shape:
    """One to five lumpy ellipsoids about as large together as a sphere of the radius."""
    parts = 1
    if radius_mm > 7:
        parts = int(rng.integers(2, 6)) if conglomerate and rng.random() < 0.6 else int(rng.integers(1, 4))
    share = radius_mm / parts ** (1 / 3) * (1.0 if parts == 1 else 1.12)
    blobs: list[Shape] = []
    place = np.array(centre)
    for _ in range(parts):
        stretch = np.exp(rng.normal(0, 0.2, 3))
        stretch /= np.prod(stretch) ** (1 / 3)
        size = share * float(rng.uniform(0.8, 1.2)) if parts > 1 else share
        turn = as_vector(rng.uniform(0, 180, 3))
        blobs.append(Ellipsoid(as_vector(place), as_vector(stretch * size), turned(turn)))
        step = rng.standard_normal(3)
        place = np.array(centre) + step / np.linalg.norm(step) * share * float(rng.uniform(0.6, 1.25))
    lumps = draw_waves(rng, amplitude=0.09 * radius_mm, wavelength_mm=1.6 * radius_mm, count=5)
    return Lumpy(Union(tuple(blobs)), lumps)


def _lattice(bounds: Box, steps: int = 28) -> tuple[Points, float]:
    """Return a lattice of points that fills a box, and the volume of its cell in ml."""
    low, high = np.array(bounds.low_mm), np.array(bounds.high_mm)
    cell = (high - low) / steps
    x, y, z = (
        np.float32(lo) + (np.arange(steps, dtype=np.float32) + np.float32(0.5)) * np.float32(c)
        for lo, c in zip(low, cell, strict=True)
    )
    points: tuple[Array, Array, Array] = (x[None, None, :], y[None, :, None], z[:, None, None])
    return points, float(np.prod(cell)) / 1000.0


def _touches(lesion: Lesion, others: Sequence[Lesion]) -> bool:
    """Tell whether the boxes of two lesions meet: generous, so that each lesion keeps a border of its own."""
    return any(lesion.shape.bounds.meets(other.shape.bounds) for other in others)


def _radius_mm(volume_ml: float) -> float:
    """Radius of the sphere of that volume."""
    return float((volume_ml * 1000 * 3 / (4 * pi)) ** (1 / 3))
