"""A patient's build, and the sculptor who shapes the reference body to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from swfastedit_core.phantom.shapes import Capsule, Ellipsoid, Lumpy, Shape, Waves, draw_waves, tube, turned
from swfastedit_core.phantom.space import Vector, as_tuple


@dataclass(frozen=True)
class Region:
    """A part of the body with one uptake.

    Attributes
    ----------
    name
        What it is; pairs share a name.
    suv
        Mean uptake as SUV (body weight).
    parts
        Solids that make it up, painted one by one.
    texture
        Relative variation of the uptake inside, None for none.
    """

    name: str
    suv: float
    parts: tuple[Shape, ...]
    texture: Waves | None = None


@dataclass(frozen=True)
class Build:
    """How a patient differs from the reference body of 1720 mm, and how they lie.

    Attributes
    ----------
    height_scale, frame_scale
        Factors on z, and on x and y.
    fat_mm
        Thickness of the fat under the skin.
    belly_mm
        How far the belly adds to the depth of the trunk.
    female, arms_up
        Sex; posture of the arms.
    sway_mm, sway_phase
        Sideways bend of the body axis.
    """

    height_scale: float
    frame_scale: float
    fat_mm: float
    belly_mm: float
    female: bool
    arms_up: bool
    sway_mm: float
    sway_phase: float

    def place(self, x: float, y: float, z: float) -> Vector:
        """Take a point of the reference body to the patient."""
        sway = self.sway_mm * float(np.sin(z / 170.0 + self.sway_phase))
        return x * self.frame_scale + sway, y * self.frame_scale, z * self.height_scale


def draw_build(rng: np.random.Generator) -> Build:
    """Draw an adult: 1500 to 1950 mm tall, from lean to obese; three in four with the arms up."""
    female = bool(rng.random() < 0.48)
    height_mm = float(np.clip(rng.normal(1630 if female else 1750, 70), 1480, 1960))
    fatness = float(np.clip(rng.lognormal(np.log(14), 0.5), 5, 42))
    return Build(
        height_scale=height_mm / 1720,
        frame_scale=float(np.clip(rng.normal(0.95 if female else 1.02, 0.05), 0.84, 1.16)),
        fat_mm=fatness,
        belly_mm=float(max(0.0, rng.normal((fatness - 10) * 0.9, 8))),
        female=female,
        arms_up=bool(rng.random() < 0.75),
        sway_mm=float(abs(rng.normal(0, 4))),
        sway_phase=float(rng.uniform(0, 2 * np.pi)),
    )


class Sculptor:
    """Draws shapes of the reference body into one patient, each with its own chance variation."""

    def __init__(self, build: Build, rng: np.random.Generator) -> None:
        self.build = build
        self.rng = rng

    def ellipsoid(
        self,
        centre: Vector,
        radii: Vector,
        *,
        turn_deg: Vector = (0, 0, 0),
        shift_mm: float = 0,
        vary: float = 0.05,
    ) -> Ellipsoid:
        """Place an ellipsoid, shifted by a normal of `shift_mm` and scaled by a lognormal of `vary`."""
        rng, build = self.rng, self.build
        dx, dy, dz = rng.normal(0, max(shift_mm, 1e-9), 3)
        fx, fy, fz = np.exp(rng.normal(0, vary, 3))
        radii_mm = (
            float(radii[0] * fx * build.frame_scale),
            float(radii[1] * fy * build.frame_scale),
            float(radii[2] * fz * build.height_scale),
        )
        return Ellipsoid(build.place(centre[0] + dx, centre[1] + dy, centre[2] + dz), radii_mm, turned(turn_deg))

    def lumpy(self, shape: Shape, *, amplitude_mm: float, wavelength_mm: float) -> Lumpy:
        """Push the surface in and out."""
        return Lumpy(shape, draw_waves(self.rng, amplitude=amplitude_mm, wavelength_mm=wavelength_mm))

    def tube(
        self,
        centres: tuple[Vector, ...],
        radii: tuple[float, ...],
        *,
        shift_mm: float = 0,
        step_mm: float = 12,
    ) -> tuple[Capsule, ...]:
        """Place a smooth tube through points, each shifted by a normal of `shift_mm`."""
        points = np.array(centres, np.float64) + self.rng.normal(0, max(shift_mm, 1e-9), (len(centres), 3))
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        fine = np.linspace(0, length[-1], max(2, int(length[-1] / step_mm) + 1))
        smooth = PchipInterpolator(length, points)(fine)
        thick = np.interp(fine, length, radii)
        return tube([self.build.place(*point) for point in smooth], as_tuple(thick * self.build.frame_scale))

    def suv(self, low: float, high: float) -> float:
        """Draw an uptake, log-uniform."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def texture(self, amplitude: float, wavelength_mm: float) -> Waves:
        """Draw a relative variation of uptake."""
        return draw_waves(self.rng, amplitude=amplitude, wavelength_mm=wavelength_mm, count=6)
