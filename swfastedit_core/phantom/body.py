"""The patient's build: outline, fat, muscle, limbs and skeleton, in patient millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from swfastedit_core.phantom.shapes import (
    Capsule,
    Clipped,
    Ellipsoid,
    Lumpy,
    Sections,
    Shape,
    Union,
    Vector,
    Waves,
    as_tuple,
    draw_waves,
    tube,
    turned,
)

# Lean outline of a man of 1720 mm: level below the vertex, half width, half depth, centre in y; mm.
OUTLINE = (
    (0, 20, 28, 6), (-12, 44, 58, 5), (-45, 66, 84, 4), (-90, 75, 94, 3), (-130, 73, 93, 1), (-165, 66, 88, -4),
    (-198, 58, 80, -9), (-216, 52, 66, 0), (-232, 51, 54, 12), (-262, 55, 54, 20), (-282, 74, 58, 22),
    (-300, 112, 66, 19), (-320, 144, 78, 14), (-345, 158, 88, 8), (-390, 156, 96, 2), (-450, 152, 103, 0),
    (-520, 147, 103, -2), (-600, 138, 96, -2), (-670, 136, 92, -1), (-735, 150, 95, 4), (-795, 162, 100, 9),
    (-850, 164, 100, 12), (-890, 158, 94, 14),
)  # fmt: skip
SPINE_Y = (
    (-900, 62),
    (-850, 74),
    (-790, 60),
    (-740, 42),
    (-680, 30),
    (-600, 36),
    (-480, 50),
    (-400, 50),
    (-280, 32),
    (-190, 18),
)


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
        return Ellipsoid(
            build.place(centre[0] + dx, centre[1] + dy, centre[2] + dz), radii_mm, turned(turn_deg)
        )

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
        return tube([self.build.place(*point) for point in smooth], as_tuple(thick))

    def suv(self, low: float, high: float) -> float:
        """Draw an uptake, log-uniform."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def texture(self, amplitude: float, wavelength_mm: float) -> Waves:
        """Draw a relative variation of uptake."""
        return draw_waves(self.rng, amplitude=amplitude, wavelength_mm=wavelength_mm, count=6)


@dataclass(frozen=True)
class Frame:
    """The solids that bound everything else.

    Attributes
    ----------
    skin
        The whole body.
    lean
        The trunk, neck and head inside the fat.
    chest, cavity
        What the chest wall and the abdominal wall enclose.
    """

    skin: Union
    lean: Sections
    chest: Sections
    cavity: Sections


def make_frame(sculptor: Sculptor) -> tuple[Frame, list[Region]]:
    """Shape the outline, and return it with the regions fat and muscle."""
    build = sculptor.build
    lean = _outline(build, fat=False)
    skin_trunk = _outline(build, fat=True)
    limbs = [*_arms(sculptor), *_legs(sculptor)]
    thick = build.fat_mm * 0.55
    skin_limbs = tuple(
        Capsule(c.start_mm, c.end_mm, c.start_radius_mm + thick, c.end_radius_mm + thick) for c in limbs
    )
    extra = _breasts(sculptor) if build.female else ()
    skin = Union((skin_trunk, *skin_limbs, *extra))
    high = build.height_scale
    frame = Frame(
        skin=skin,
        lean=lean,
        chest=lean.shrunk(15, low_mm=-530 * high, high_mm=-286 * high),
        cavity=lean.shrunk(14, low_mm=-880 * high, high_mm=-415 * high),
    )
    # Muscle at rest 0.5 to 0.8, fat 0.2 to 0.4 (Ramos et al., Nucl Med Commun 2001; Zincirkeser et al. 2007).
    fat = Region("fat", sculptor.suv(0.2, 0.38), skin.parts)
    muscle_suv = sculptor.suv(0.5, 0.8)
    muscle = Region("muscle", muscle_suv, (lean, *limbs), sculptor.texture(0.12, 45))
    inside = Region("visceral fat", muscle_suv * 0.7, (frame.cavity,), sculptor.texture(0.15, 50))
    return frame, [fat, muscle, inside]


def make_skeleton(sculptor: Sculptor, frame: Frame) -> list[Region]:
    """Red marrow: 0.8 to 2 in the spine, less in the long bones (Murata et al., Ann Nucl Med 2006)."""
    marrow = sculptor.suv(0.85, 1.9)
    regions = [*_spine(sculptor, marrow)]
    bones: list[Shape] = [sculptor.ellipsoid((0, 62, -790), (38, 13, 42), turn_deg=(-20, 0, 0))]
    for side in (-1, 1):
        bones += [
            sculptor.ellipsoid((side * 78, 32, -742), (9, 42, 44), turn_deg=(0, side * 24, side * -35)),
            sculptor.ellipsoid((side * 76, 12, -825), (17, 20, 22)),
            sculptor.ellipsoid((side * 42, -28, -858), (26, 9, 10), turn_deg=(0, side * 20, 0)),
            sculptor.ellipsoid((side * 150, 22, -325), (17, 19, 20)),
        ]
    regions.append(Region("pelvis", marrow * 0.85, tuple(bones)))
    femora = [
        sculptor.tube(((s * 84, 8, -843), (s * 92, 8, -890), (s * 84, 0, -1000)), (19, 13, 9))
        for s in (-1, 1)
    ]
    regions.append(Region("femur", marrow * 0.6, (*femora[0], *femora[1])))
    sternum = sculptor.tube(((0, -80, -365), (0, -92, -410), (0, -96, -465)), (9, 8, 8))
    regions.append(Region("sternum", marrow * 0.8, sternum))
    regions.append(Region("ribs", marrow * 0.62, tuple(_ribs(sculptor, frame))))
    return regions


def spine_point(z: float) -> Vector:
    """Return the centre of the vertebral bodies at a level of the reference body."""
    levels, depths = zip(*SPINE_Y, strict=True)
    return 0.0, float(np.interp(z, levels, depths)), z


def _outline(build: Build, *, fat: bool) -> Sections:
    table = np.array(OUTLINE[::-1], np.float64)
    levels = np.linspace(table[0, 0], table[-1, 0], 120)
    half_x, half_y, centre_y = PchipInterpolator(table[:, 0], table[:, 1:])(levels).T
    frame = build.frame_scale
    half_x, half_y, centre_y = half_x * frame, half_y * frame, centre_y * frame
    belly = build.belly_mm * np.exp(-(((levels + 660) / 95) ** 2))
    centre_y = centre_y - belly * 0.5
    half_y, half_x = half_y + belly * 0.5, half_x + belly * 0.25
    if fat:  # thin on the head, full from the chest down
        thick = (
            build.fat_mm * np.interp(levels, (-700, -450, -330, -250, 0), (1.15, 0.9, 0.6, 0.45, 0.2)) + 2.5
        )
        half_x, half_y = half_x + thick, half_y + thick
    hips = 6 if build.female else 0
    half_x = half_x + hips * np.exp(-(((levels + 850) / 70) ** 2))
    centre_x = np.array([build.place(0, 0, float(z))[0] for z in levels])
    columns = (levels * build.height_scale, half_x, half_y, centre_x, centre_y)
    z_mm, half_x_mm, half_y_mm, centre_x_mm, centre_y_mm = (as_tuple(column) for column in columns)
    return Sections(z_mm, half_x_mm, half_y_mm, centre_x_mm, centre_y_mm, squareness=0.55)


def _arms(sculptor: Sculptor) -> list[Capsule]:
    rng, arms = sculptor.rng, []
    for side in (-1, 1):
        spread = float(rng.normal(0, 12))
        if sculptor.build.arms_up:
            elbow = (side * (205 + spread), -25.0 + float(rng.normal(0, 10)), -85.0)
            wrist = (side * (125 + 2 * spread), -35.0, 120.0)
            radii = (56.0, 43.0, 39.0, 27.0)
        else:
            elbow = (side * (208 + spread), 30.0, -620.0)
            wrist = (side * (190 + spread), -25.0 + float(rng.normal(0, 15)), -850.0)
            radii = (52.0, 42.0, 38.0, 26.0)
        shoulder = (side * 150.0, 14.0, -338.0)
        middle = tuple((a + b) / 2 for a, b in zip(shoulder, elbow, strict=True))
        hand = (wrist[0] - side * 4, wrist[1], wrist[2] + (110 if sculptor.build.arms_up else -110))
        path = (shoulder, (middle[0], middle[1], middle[2]), elbow, wrist, hand)
        arms += sculptor.tube(path, (*radii, 22.0), step_mm=40)
    return arms


def _legs(sculptor: Sculptor) -> list[Capsule]:
    apart = float(sculptor.rng.uniform(-4, 14))
    legs: list[Capsule] = []
    for side in (-1, 1):
        path = (
            (side * 78.0, 14.0, -838.0), (side * (82 + apart * 0.3), 12.0, -930.0), (side * (80 + apart), 8.0, -1100.0),
            (side * (76 + apart), 8.0, -1260.0), (side * (74 + apart), 20.0, -1390.0), (side * (72 + apart), 22.0, -1620.0),
            (side * (80 + apart), -70.0, -1690.0),
        )  # fmt: skip
        legs += sculptor.tube(path, (76, 77, 66, 48, 48, 31, 28), step_mm=60)
    return legs


def _breasts(sculptor: Sculptor) -> tuple[Shape, ...]:
    size = float(sculptor.rng.uniform(0.7, 1.15)) * (0.8 + sculptor.build.fat_mm / 60)
    return tuple(
        sculptor.ellipsoid((side * 72, -96, -425), (58 * size, 42 * size, 58 * size), shift_mm=3)
        for side in (-1, 1)
    )


def _spine(sculptor: Sculptor, marrow: float) -> list[Region]:
    bodies: list[Shape] = []
    arches: list[Shape] = []
    level = -195.0
    for number in range(23):  # C3 to L5; bodies grow from 16 to 34 mm with their disc
        share = number / 22
        height = 17 + 15.5 * share
        x, y, z = spine_point(level - height / 2)
        bodies.append(
            sculptor.ellipsoid((x, y, z), (11 + 13 * share, 9 + 8 * share, height * 0.42), vary=0.04)
        )
        arches.append(sculptor.ellipsoid((x, y + 25 + 6 * share, z - 4), (5 + 3 * share, 13, height * 0.32)))
        level -= height
    boxes = [
        Region("vertebra", marrow * float(np.exp(sculptor.rng.normal(0, 0.06))), (body,)) for body in bodies
    ]
    cord = sculptor.tube(
        tuple((0.0, spine_point(z)[1] + 20, z) for z in (-140.0, -300.0, -450.0, -600.0)), (5, 5, 4, 4)
    )
    return [Region("spinal cord", marrow * 0.9, cord), *boxes, Region("arches", marrow * 0.75, tuple(arches))]


def _ribs(sculptor: Sculptor, frame: Frame) -> list[Shape]:
    ribs: list[Shape] = []
    outline = frame.lean.shrunk(9)
    high = sculptor.build.height_scale
    angles = np.linspace(0.25, 2.6, 9)  # from the spine round to the front
    for number in range(11):
        start = -308.0 - 19.5 * number
        fall = 45 + 5 * number
        levels = (start - fall * np.sin(angles / 2.6 * np.pi / 2)) * high
        half_x = np.interp(levels, outline.z_mm, outline.half_x_mm)
        half_y = np.interp(levels, outline.z_mm, outline.half_y_mm)
        y = np.interp(levels, outline.z_mm, outline.centre_y_mm) + half_y * 0.93 * np.cos(angles)
        for side in (-1, 1):
            x = np.interp(levels, outline.z_mm, outline.centre_x_mm) + side * half_x * np.sin(angles)
            ribs += tube(list(zip(x.tolist(), y.tolist(), levels.tolist(), strict=True)), [4.5] * len(angles))
    return [Clipped(rib, frame.lean) for rib in ribs]
