"""Body habitus of a patient, and a sampler of the shapes and uptakes of this patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from swfastedit_core.phantom.shapes import (
    Capsule,
    Displaced,
    Ellipsoid,
    Shape,
    rotation,
    tube,
)
from swfastedit_core.phantom.smooth_noise import SmoothNoise, sample_noise
from swfastedit_core.phantom.space import Vector, as_tuple


@dataclass(frozen=True)
class Region:
    """A part of the body with one mean uptake.

    Attributes
    ----------
    name
        Name of the region; paired organs have the same name.
    suv
        Mean uptake, SUV (body weight).
    parts
        The solids of the region, painted in this order.
    texture
        Relative variation of the uptake; None: uniform uptake.
    """

    name: str
    suv: float
    parts: tuple[Shape, ...]
    texture: SmoothNoise | None = None


@dataclass(frozen=True)
class Habitus:
    """Size of a patient relative to the reference body of 1720 mm, sex and posture.

    Attributes
    ----------
    height_scale, frame_scale
        Factors on z, and on x and y.
    fat_mm
        Thickness of the subcutaneous fat.
    belly_mm
        Additional depth of the trunk at the belly.
    female, arms_up
        Sex; whether the arms are raised next to the head.
    bend_mm, bend_phase
        Amplitude and phase of the lateral bend of the body axis.
    """

    height_scale: float
    frame_scale: float
    fat_mm: float
    belly_mm: float
    female: bool
    arms_up: bool
    bend_mm: float
    bend_phase: float

    def to_patient(self, x: float, y: float, z: float) -> Vector:
        """Map a point of the reference body to the patient."""
        bend = self.bend_mm * float(np.sin(z / 170.0 + self.bend_phase))
        return x * self.frame_scale + bend, y * self.frame_scale, z * self.height_scale


def sample_habitus(rng: np.random.Generator) -> Habitus:
    """Sample an adult: 1480 to 1960 mm tall, lean to obese; three of four have the arms up."""
    female = bool(rng.random() < 0.48)
    height_mm = float(np.clip(rng.normal(1630 if female else 1750, 70), 1480, 1960))
    fatness = float(np.clip(rng.lognormal(np.log(14), 0.5), 5, 42))
    return Habitus(
        height_scale=height_mm / 1720,
        frame_scale=float(np.clip(rng.normal(0.95 if female else 1.02, 0.05), 0.84, 1.16)),
        fat_mm=fatness,
        belly_mm=float(max(0.0, rng.normal((fatness - 10) * 0.9, 8))),
        female=female,
        arms_up=bool(rng.random() < 0.75),
        bend_mm=float(abs(rng.normal(0, 4))),
        bend_phase=float(rng.uniform(0, 2 * np.pi)),
    )


class AnatomySampler:
    """Samples shapes and uptakes of one patient, by random variation of the reference body."""

    def __init__(self, habitus: Habitus, rng: np.random.Generator) -> None:
        self.habitus = habitus
        self.rng = rng

    def ellipsoid(
        self,
        centre: Vector,
        radii: Vector,
        *,
        rotation_deg: Vector = (0, 0, 0),
        shift_mm: float = 0,
        scale_sigma: float = 0.05,
    ) -> Ellipsoid:
        """Return an ellipsoid; its shift is normal (`shift_mm`), its scale log-normal (`scale_sigma`)."""
        rng, habitus = self.rng, self.habitus
        dx, dy, dz = rng.normal(0, max(shift_mm, 1e-9), 3)
        fx, fy, fz = np.exp(rng.normal(0, scale_sigma, 3))
        radii_mm = (
            float(radii[0] * fx * habitus.frame_scale),
            float(radii[1] * fy * habitus.frame_scale),
            float(radii[2] * fz * habitus.height_scale),
        )
        return Ellipsoid(
            habitus.to_patient(centre[0] + dx, centre[1] + dy, centre[2] + dz), radii_mm, rotation(rotation_deg)
        )

    def displaced(self, shape: Shape, *, amplitude_mm: float, wavelength_mm: float) -> Displaced:
        """Return a shape with an irregular surface."""
        return Displaced(shape, sample_noise(self.rng, amplitude=amplitude_mm, wavelength_mm=wavelength_mm))

    def tube(
        self,
        centres: tuple[Vector, ...],
        radii: tuple[float, ...],
        *,
        shift_mm: float = 0,
        step_mm: float = 12,
    ) -> tuple[Capsule, ...]:
        """Return a smooth tube through points, each with a normal shift (`shift_mm`)."""
        points = np.array(centres, np.float64) + self.rng.normal(0, max(shift_mm, 1e-9), (len(centres), 3))
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        fine = np.linspace(0, length[-1], max(2, int(length[-1] / step_mm) + 1))
        smooth = PchipInterpolator(length, points)(fine)
        thick = np.interp(fine, length, radii)
        return tube([self.habitus.to_patient(*point) for point in smooth], as_tuple(thick * self.habitus.frame_scale))

    def suv(self, low: float, high: float) -> float:
        """Sample an uptake, log-uniform."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def texture(self, amplitude: float, wavelength_mm: float) -> SmoothNoise:
        """Sample a relative variation of uptake."""
        return sample_noise(self.rng, amplitude=amplitude, wavelength_mm=wavelength_mm, count=6)
