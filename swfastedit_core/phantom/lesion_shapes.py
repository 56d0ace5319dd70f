"""Shapes of lesions, and the recovery coefficient of small ones."""

from __future__ import annotations

from math import erf, exp, pi, sqrt

import numpy as np

from swfastedit_core.phantom.scanner import FWHM_PER_SIGMA
from swfastedit_core.phantom.shapes import Displaced, Ellipsoid, Shape, Union, rotation
from swfastedit_core.phantom.smooth_noise import sample_noise
from swfastedit_core.phantom.space import Vector, as_vector


def recovery(radius_mm: float, *, fwhm_mm: float) -> float:
    """Return the recovery coefficient: peak of a sphere of contrast 1 after a blur (Kessler et al., JCAT 1984)."""
    ratio = radius_mm * FWHM_PER_SIGMA / fwhm_mm
    return erf(ratio / sqrt(2)) - sqrt(2 / pi) * ratio * exp(-ratio * ratio / 2)


def radius_of_ml(volume_ml: float) -> float:
    """Return the radius in mm of a sphere of this volume."""
    return float((volume_ml * 1000 * 3 / (4 * pi)) ** (1 / 3))


def sample_shape(rng: np.random.Generator, *, centre_mm: Vector, radius_mm: float, merged: bool) -> Shape:
    """Sample the shape of a lesion: one to five ellipsoids with an irregular surface.

    Parameters
    ----------
    rng
        Random number generator.
    centre_mm
        Centre of the first ellipsoid, LPS.
    radius_mm
        Radius of a sphere of about the same volume. Up to 7 mm, a lesion is one ellipsoid.
    merged
        Whether conglomerates are likely, as in lymph nodes.
    """
    parts = 1
    if radius_mm > 7:
        parts = int(rng.integers(2, 6)) if merged and rng.random() < 0.6 else int(rng.integers(1, 4))
    share = radius_mm / parts ** (1 / 3) * (1.0 if parts == 1 else 1.12)
    centre = np.array(centre_mm)
    position = centre
    ellipsoids: list[Shape] = []
    for _ in range(parts):
        stretch = np.exp(rng.normal(0, 0.2, 3))
        stretch /= np.prod(stretch) ** (1 / 3)
        size = share * (1.0 if parts == 1 else float(rng.uniform(0.8, 1.2)))
        turn = as_vector(rng.uniform(0, 180, 3))
        ellipsoids.append(Ellipsoid(as_vector(position), as_vector(stretch * size), rotation(turn)))
        step = rng.standard_normal(3)
        position = centre + step / np.linalg.norm(step) * share * float(rng.uniform(0.6, 1.25))
    displacement = sample_noise(rng, amplitude=0.08 * radius_mm, wavelength_mm=1.6 * radius_mm, count=5)
    return Displaced(Union(tuple(ellipsoids)), displacement)
