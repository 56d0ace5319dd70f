"""Physiological FDG uptake of the chest, and of the great vessels."""

from __future__ import annotations

import numpy as np

from swfastedit_core.phantom.anatomy import AnatomySampler, Region
from swfastedit_core.phantom.body import Contours
from swfastedit_core.phantom.shapes import Capsule, Intersection, Shape, Union
from swfastedit_core.phantom.skeleton import spine_point
from swfastedit_core.phantom.space import Vector


def make_chest(sampler: AnatomySampler, contours: Contours, *, blood_suv: float) -> list[Region]:
    """Return lungs (SUV 0.3 to 0.6), mediastinum, oesophagus and great vessels (blood pool 1.2 to 2)."""
    lungs = tuple(
        Intersection(sampler.displaced(lung, amplitude_mm=3, wavelength_mm=90), contours.chest)
        for lung in (
            sampler.ellipsoid((-74, 4, -398), (60, 84, 112), rotation_deg=(0, -4, 0), shift_mm=3),
            sampler.ellipsoid((76, 4, -402), (55, 82, 116), rotation_deg=(0, 4, 0), shift_mm=3),
        )
    )
    middle = sampler.displaced(
        Union(
            (
                sampler.ellipsoid((0, 5, -360), (32, 48, 95), shift_mm=3),
                sampler.ellipsoid((12, -12, -445), (58, 50, 52), shift_mm=3),
            )
        ),
        amplitude_mm=3,
        wavelength_mm=45,
    )
    oesophagus = sampler.tube(((0, 22, -280), (2, 34, -360), (6, 30, -440), (22, 15, -490)), (6, 7, 7, 8), shift_mm=2)
    return [
        Region("lung", sampler.suv(0.3, 0.55), lungs, sampler.texture(0.2, 70)),
        Region("mediastinum", blood_suv * 0.72, (middle,), sampler.texture(0.15, 35)),
        Region("oesophagus", sampler.suv(1.1, 2.4), oesophagus),
        *_vessels(sampler, blood_suv),
    ]


def make_heart(sampler: AnatomySampler, *, blood_suv: float) -> list[Region]:
    """Return heart chambers and left ventricle, open at the base; in 40 % of patients its muscle has a low uptake."""
    rng = sampler.rng
    muscle = sampler.suv(blood_suv, 2.6) if rng.random() < 0.4 else sampler.suv(3.0, 14.0)
    turn: Vector = (float(rng.normal(20, 5)), float(rng.normal(38, 6)), float(rng.normal(-32, 7)))
    base = np.array([40.0, -30.0, -452.0]) + rng.normal(0, 5, 3)
    centre: Vector = (float(base[0]), float(base[1]), float(base[2]))
    outer = sampler.ellipsoid(centre, (44, 32, 31), rotation_deg=turn)
    axes = np.reshape(outer.axes, (3, 3))
    opening = np.array(outer.centre_mm) - axes[:, 0] * 14
    inner = type(outer)(
        (float(opening[0]), float(opening[1]), float(opening[2])),
        (outer.radii_mm[0] * 0.92, outer.radii_mm[1] * 0.66, outer.radii_mm[2] * 0.66),
        outer.axes,
    )
    chambers: tuple[Shape, ...] = (
        sampler.ellipsoid((centre[0] - 36, centre[1] - 12, centre[2] + 2), (34, 27, 40)),
        sampler.ellipsoid((centre[0] - 34, centre[1] + 30, centre[2] + 20), (36, 24, 28)),
    )
    return [
        Region("heart chambers", blood_suv, chambers),
        Region(
            "myocardium",
            muscle,
            (sampler.displaced(outer, amplitude_mm=1.5, wavelength_mm=40),),
            sampler.texture(0.14, 50),
        ),
        Region("left ventricle", blood_suv * 1.05, (inner,)),
    ]


def _vessels(sampler: AnatomySampler, blood_suv: float) -> list[Region]:
    spine = [spine_point(z) for z in (-480.0, -560.0, -640.0, -715.0)]
    aorta = sampler.tube(
        (
            (-8, -8, -432),
            (-14, -22, -395),
            (4, -10, -362),
            (26, 22, -372),
            (24, 40, -420),
            *((14.0, y - 22, z) for _, y, z in spine),
        ),
        (15, 15, 14, 13, 12, 12, 11, 10, 9),
        shift_mm=1.5,
    )
    cava = sampler.tube(tuple((-20.0, y - 20, z) for _, y, z in spine), (11, 11, 10, 10), shift_mm=1.5)
    limbs: list[Capsule] = []
    for side in (-1, 1):
        limbs += sampler.tube(
            (
                (side * 8, 14, -720),
                (side * 40, 22, -780),
                (side * 66, -38, -860),
                (side * 70, -30, -960),
                (side * 74, 0, -1100),
            ),
            (7, 6, 6, 5, 3),
        )
        limbs += sampler.tube(((side * 10, -10, -350), (side * 30, 2, -290), (side * 33, 2, -200)), (8, 7, 6))
    return [
        Region("vessels", blood_suv, (*aorta, *cava)),
        Region("limb vessels", blood_suv * 0.75, tuple(limbs)),
    ]
