"""Contours of the body, and its fat and muscle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from swfastedit_core.phantom.anatomy import AnatomySampler, Habitus, Region
from swfastedit_core.phantom.shapes import Capsule, Sections, Shape, Union
from swfastedit_core.phantom.space import Vector, as_tuple

# Lean outline of a man of 1720 mm. Columns in mm: z below the vertex, half width, half depth, y of the centre.
OUTLINE = (
    (0, 20, 28, 6), (-12, 44, 58, 5), (-45, 66, 84, 4), (-90, 75, 94, 3), (-130, 73, 93, 1),
    (-165, 66, 88, -4), (-198, 58, 80, -9), (-216, 52, 66, 0), (-232, 51, 54, 12), (-262, 55, 54, 20),
    (-282, 74, 58, 22),
    (-300, 112, 66, 19), (-320, 144, 78, 14), (-345, 158, 88, 8), (-390, 156, 96, 2), (-450, 152, 103, 0),
    (-520, 147, 103, -2), (-600, 138, 96, -2), (-670, 136, 92, -1), (-735, 150, 95, 4), (-795, 162, 100, 9),
    (-850, 163, 100, 12), (-885, 154, 90, 14),
    (-915, 132, 70, 12), (-940, 80, 36, 10),
)  # fmt: skip


@dataclass(frozen=True)
class Contours:
    """The solids that bound the organs.

    Attributes
    ----------
    skin
        The whole body.
    lean
        The trunk, neck and head inside the fat.
    chest, cavity
        The solids inside the chest wall and inside the abdominal wall.
    """

    skin: Union
    lean: Sections
    chest: Sections
    cavity: Sections


def make_contours(sampler: AnatomySampler) -> tuple[Contours, list[Region]]:
    """Return the contours, and the regions fat and muscle."""
    habitus = sampler.habitus
    lean = _outline(habitus, fat=False)
    skin_trunk = _outline(habitus, fat=True)
    limbs = [*_arms(sampler), *_legs(sampler)]
    skin_limbs = tuple(_with_fat(limb, habitus) for limb in limbs)
    extra = _breasts(sampler) if habitus.female else ()
    skin = Union((skin_trunk, *skin_limbs, *extra))
    high = habitus.height_scale
    contours = Contours(
        skin=skin,
        lean=lean,
        chest=lean.shrunk(15, low_mm=-530 * high, high_mm=-286 * high),
        cavity=lean.shrunk(14, low_mm=-880 * high, high_mm=-415 * high),
    )
    # Muscle at rest 0.5 to 0.9, fat 0.2 to 0.4 (Ramos et al., Nucl Med Commun 2001; Zincirkeser et al. 2007).
    fat = Region("fat", sampler.suv(0.2, 0.38), skin.parts)
    muscle_suv = sampler.suv(0.52, 0.95)
    muscle = Region("muscle", muscle_suv, (lean, *limbs), sampler.texture(0.12, 45))
    inside = Region("visceral fat", muscle_suv * 0.75, (contours.cavity,), sampler.texture(0.3, 35))
    return contours, [fat, muscle, inside]


def _outline(habitus: Habitus, *, fat: bool) -> Sections:
    table = np.array(OUTLINE[::-1], np.float64)
    levels = np.linspace(table[0, 0], table[-1, 0], 120)
    half_x, half_y, centre_y = PchipInterpolator(table[:, 0], table[:, 1:])(levels).T
    wide = habitus.frame_scale
    half_x, half_y, centre_y = half_x * wide, half_y * wide, centre_y * wide
    belly = habitus.belly_mm * np.exp(-(((levels + 660) / 95) ** 2))
    centre_y = centre_y - belly * 0.5
    half_y, half_x = half_y + belly * 0.5, half_x + belly * 0.25
    if fat:  # thin on the head, full from the chest down
        thick = habitus.fat_mm * np.interp(levels, (-700, -450, -330, -250, 0), (1.15, 0.9, 0.6, 0.45, 0.2)) + 2.5
        half_x, half_y = half_x + thick, half_y + thick
    hips = 6 if habitus.female else 0
    half_x = half_x + hips * np.exp(-(((levels + 850) / 70) ** 2))
    centre_x = np.array([habitus.to_patient(0, 0, float(z))[0] for z in levels])
    columns = (levels * habitus.height_scale, half_x, half_y, centre_x, centre_y)
    z_mm, half_x_mm, half_y_mm, centre_x_mm, centre_y_mm = (as_tuple(column) for column in columns)
    return Sections(z_mm, half_x_mm, half_y_mm, centre_x_mm, centre_y_mm, squareness=0.55)


def _with_fat(limb: Capsule, habitus: Habitus) -> Capsule:
    """Return a limb with its fat: at the hip as thick as on the trunk, thinner towards the feet, thin on arms."""

    def radius_mm(centre_mm: Vector, lean_mm: float) -> float:
        level = centre_mm[2] / habitus.height_scale
        share = float(np.interp(level, (-1650, -1260, -1000, -838), (0.15, 0.4, 0.8, 1.0)))
        return lean_mm + habitus.fat_mm * (share if limb.start_radius_mm > 60 or level < -900 else 0.4)

    return Capsule(
        limb.start_mm,
        limb.end_mm,
        radius_mm(limb.start_mm, limb.start_radius_mm),
        radius_mm(limb.end_mm, limb.end_radius_mm),
    )


def _arms(sampler: AnatomySampler) -> list[Capsule]:
    rng = sampler.rng
    arms: list[Capsule] = []
    for side in (-1, 1):
        spread = float(rng.normal(0, 12))
        if sampler.habitus.arms_up:
            elbow = (side * (205 + spread), -25.0 + float(rng.normal(0, 10)), -85.0)
            wrist = (side * (125 + 2 * spread), -35.0, 120.0)
            radii = (56.0, 43.0, 39.0, 27.0)
        else:
            aside = max(0.0, sampler.habitus.fat_mm + 0.3 * sampler.habitus.belly_mm - 12)
            elbow = (side * (205 + spread + aside), 30.0, -620.0)
            wrist = (side * (192 + spread + aside), -25.0 + float(rng.normal(0, 15)), -850.0)
            radii = (52.0, 42.0, 38.0, 26.0)
        shoulder = (side * 150.0, 14.0, -338.0)
        middle = tuple((a + b) / 2 for a, b in zip(shoulder, elbow, strict=True))
        hand = (wrist[0] - side * 4, wrist[1], wrist[2] + (110 if sampler.habitus.arms_up else -110))
        path = (shoulder, (middle[0], middle[1], middle[2]), elbow, wrist, hand)
        arms += sampler.tube(path, (*radii, 22.0), step_mm=40)
    return arms


def _legs(sampler: AnatomySampler) -> list[Capsule]:
    apart = float(sampler.rng.uniform(-4, 14))
    hips = 6.0 if sampler.habitus.female else 0.0
    legs: list[Capsule] = []
    for side in (-1, 1):
        path = (
            (side * (76.0 + hips), 14.0, -838.0), (side * (79 + hips + apart * 0.3), 12.0, -930.0),
            (side * (80 + apart), 8.0, -1100.0), (side * (76 + apart), 8.0, -1260.0),
            (side * (74 + apart), 20.0, -1390.0), (side * (72 + apart), 22.0, -1620.0),
            (side * (80 + apart), -70.0, -1690.0),
        )  # fmt: skip
        legs += sampler.tube(path, (74, 77, 66, 48, 48, 31, 28), step_mm=60)
    return legs


def _breasts(sampler: AnatomySampler) -> tuple[Shape, ...]:
    size = float(sampler.rng.uniform(0.7, 1.15)) * (0.8 + sampler.habitus.fat_mm / 60)
    return tuple(
        sampler.ellipsoid((side * 72, -96, -425), (58 * size, 42 * size, 58 * size), shift_mm=3) for side in (-1, 1)
    )
