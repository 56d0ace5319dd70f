"""Physiological FDG uptake of the skeleton: red marrow."""

from __future__ import annotations

import numpy as np

from swfastedit_core.phantom.anatomy import AnatomySampler, Region
from swfastedit_core.phantom.body import Contours
from swfastedit_core.phantom.shapes import Intersection, Shape, tube
from swfastedit_core.phantom.space import Vector

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


def make_skeleton(sampler: AnatomySampler, contours: Contours) -> list[Region]:
    """Return the bones: SUV 0.8 to 2 in the spine, less in long bones (Murata et al., Ann Nucl Med 2006)."""
    marrow = sampler.suv(0.85, 1.9)
    regions = [*_spine(sampler, marrow)]
    bones: list[Shape] = [sampler.ellipsoid((0, 62, -790), (38, 13, 42), rotation_deg=(-20, 0, 0))]
    for side in (-1, 1):
        bones += [
            sampler.displaced(
                sampler.ellipsoid((side * 76, 32, -742), (6, 40, 40), rotation_deg=(0, side * 24, side * -35)),
                amplitude_mm=2,
                wavelength_mm=35,
            ),
            sampler.ellipsoid((side * 76, 12, -825), (17, 20, 22)),
            sampler.ellipsoid((side * 42, -28, -858), (26, 9, 10), rotation_deg=(0, side * 20, 0)),
        ]
    regions.append(Region("pelvis", marrow * 0.75, tuple(bones), sampler.texture(0.2, 40)))
    shoulders = [sampler.ellipsoid((side * 150, 22, -325), (16, 17, 18), shift_mm=2) for side in (-1, 1)]
    blades = [
        sampler.ellipsoid((side * 98, 84, -360), (34, 5, 48), rotation_deg=(0, side * 10, side * -25))
        for side in (-1, 1)
    ]
    regions.append(Region("shoulder", marrow * 0.6, (*shoulders, *blades), sampler.texture(0.2, 30)))
    femora = [sampler.tube(((s * 84, 8, -843), (s * 92, 8, -890), (s * 84, 0, -1000)), (19, 13, 9)) for s in (-1, 1)]
    regions.append(Region("femur", marrow * 0.6, (*femora[0], *femora[1])))
    sternum = sampler.tube(((0, -80, -365), (0, -92, -410), (0, -96, -465)), (9, 8, 8))
    regions.append(Region("sternum", marrow * 0.8, sternum))
    regions.append(Region("ribs", marrow * 0.62, tuple(_ribs(sampler, contours))))
    return regions


def spine_point(z: float) -> Vector:
    """Return the centre of the vertebral bodies at a level of the reference body."""
    levels, depths = zip(*SPINE_Y, strict=True)
    return 0.0, float(np.interp(z, levels, depths)), z


def _spine(sampler: AnatomySampler, marrow: float) -> list[Region]:
    bodies: list[Shape] = []
    arches: list[Shape] = []
    level = -195.0
    for number in range(23):  # C3 to L5; the height of a vertebra with its disc increases from 17 to 32.5 mm
        share = number / 22
        height = 17 + 15.5 * share
        x, y, z = spine_point(level - height / 2)
        bodies.append(sampler.ellipsoid((x, y, z), (11 + 13 * share, 9 + 8 * share, height * 0.45), scale_sigma=0.04))
        arches.append(sampler.ellipsoid((x, y + 25 + 6 * share, z - 4), (5 + 3 * share, 13, height * 0.32)))
        level -= height
    boxes = [Region("vertebra", marrow * float(np.exp(sampler.rng.normal(0, 0.06))), (body,)) for body in bodies]
    cord = sampler.tube(tuple((0.0, spine_point(z)[1] + 20, z) for z in (-140.0, -300.0, -450.0, -600.0)), (5, 5, 4, 4))
    levels = (-195.0, -300.0, -450.0, -600.0, -735.0)
    column = sampler.tube(tuple(spine_point(z) for z in levels), (8, 10, 14, 17, 18))
    return [
        Region("spinal cord", marrow * 0.9, cord),
        Region("discs", marrow * 0.65, column),
        *boxes,
        Region("arches", marrow * 0.75, tuple(arches)),
    ]


def _ribs(sampler: AnatomySampler, contours: Contours) -> list[Shape]:
    ribs: list[Shape] = []
    outline = contours.lean.shrunk(9)
    high = sampler.habitus.height_scale
    angles = np.linspace(0.25, 2.6, 9)  # from the spine to the front
    for number in range(11):
        start = -308.0 - 19.5 * number
        descent = 45 + 5 * number
        levels = (start - descent * np.sin(angles / 2.6 * np.pi / 2)) * high
        half_x = np.interp(levels, outline.z_mm, outline.half_x_mm)
        half_y = np.interp(levels, outline.z_mm, outline.half_y_mm)
        y = np.interp(levels, outline.z_mm, outline.centre_y_mm) + half_y * 0.93 * np.cos(angles)
        for side in (-1, 1):
            x = np.interp(levels, outline.z_mm, outline.centre_x_mm) + side * half_x * np.sin(angles)
            ribs += tube(list(zip(x.tolist(), y.tolist(), levels.tolist(), strict=True)), [4.5] * len(angles))
    return [Intersection(rib, contours.lean) for rib in ribs]
