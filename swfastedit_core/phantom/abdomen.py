"""Physiological FDG uptake of abdomen and pelvis."""

from __future__ import annotations

import numpy as np

from swfastedit_core.phantom.anatomy import AnatomySampler, Region
from swfastedit_core.phantom.body import Contours
from swfastedit_core.phantom.shapes import Capsule, Intersection, Union
from swfastedit_core.phantom.space import Vector


def make_abdomen(sampler: AnatomySampler, contours: Contours, *, blood_suv: float) -> list[Region]:
    """Return liver (SUV 1.7 to 3), spleen (a little less), stomach and pancreas."""
    liver_suv = sampler.suv(1.7, 3.0)
    lobes = Union(
        (
            sampler.ellipsoid((-74, -2, -515), (66, 82, 82), shift_mm=3),
            sampler.ellipsoid((-92, 6, -575), (40, 56, 62), shift_mm=6, scale_sigma=0.12),
            sampler.ellipsoid((0, -46, -498), (76, 34, 40), rotation_deg=(0, -14, 8), shift_mm=5, scale_sigma=0.12),
        )
    )
    liver = Intersection(sampler.displaced(lobes, amplitude_mm=2.5, wavelength_mm=70), contours.cavity)
    spleen = sampler.ellipsoid((104, 40, -520), (25, 46, 56), rotation_deg=(20, 12, 25), shift_mm=4, scale_sigma=0.15)
    path = (
        (26, 12, -480),
        (70, 0, -488),
        (86, -20, -525),
        (72, -45, -565),
        (30, -56, -590),
        (-12, -48, -582),
    )
    size = float(sampler.rng.uniform(0.75, 1.15))
    wall = sampler.tube(path, tuple(size * r for r in (12, 30, 32, 27, 20, 13)), shift_mm=4)
    lumen = tuple(Capsule(c.start_mm, c.end_mm, c.start_radius_mm * 0.6, c.end_radius_mm * 0.6) for c in wall)
    pancreas = sampler.tube(((-28, -8, -600), (0, -14, -588), (40, 8, -575), (75, 25, -560)), (13, 9, 9, 8), shift_mm=3)
    return [
        Region("pancreas", sampler.suv(0.9, 1.6), pancreas),
        Region("spleen", liver_suv * float(sampler.rng.uniform(0.68, 0.95)), (Intersection(spleen, contours.cavity),)),
        Region("stomach", sampler.suv(1.1, 3.2), wall, sampler.texture(0.25, 60)),
        Region("stomach lumen", blood_suv * 0.5, lumen),
        Region("liver", liver_suv, (liver,), sampler.texture(0.04, 40)),
    ]


def make_bowel(sampler: AnatomySampler, contours: Contours) -> list[Region]:
    """Return colon and small bowel: SUV 0.7 to 3, varying along the tube; up to 7 in one of 8, as with metformin."""
    rng = sampler.rng
    hot = float(rng.uniform(1.5, 2.6)) if rng.random() < 0.12 else 1.0
    sag = float(rng.uniform(-40, 45))
    frame_path = (
        (-84, -28, -765), (-92, -12, -700), (-94, 0, -630), (-60, -48, -625 - sag * 0.4),
        (0, -64, -640 - sag), (55, -50, -612 - sag * 0.5), (98, 8, -575), (104, 18, -650),
        (102, 10, -725), (74, -8, -775), (35, -22, -770),
        (20, 10, -795), (0, 42, -805), (0, 52, -850), (0, 48, -885),
    )  # fmt: skip
    radii = (20, 19, 17, 15, 15, 14, 14, 13, 13, 12, 12, 12, 14, 15, 11)
    colon = sampler.tube(tuple((float(x), float(y), float(z)) for x, y, z in frame_path), radii, shift_mm=6, step_mm=8)
    regions = _with_varying_uptake(sampler, "colon", colon, mean_suv=hot * sampler.suv(0.75, 1.8), contours=contours)
    for _ in range(5):
        loops = sampler.tube(_winding_path(rng), tuple(rng.uniform(7, 12, 22).tolist()), step_mm=8)
        regions += _with_varying_uptake(
            sampler, "small bowel", loops, mean_suv=hot * sampler.suv(0.7, 1.5), contours=contours
        )
    return regions


def make_urinary(sampler: AnatomySampler) -> list[Region]:
    """Return kidneys (SUV 2 to 4), hotter calyces and renal pelvis, parts of the ureters, bladder (SUV 5 to 60)."""
    rng = sampler.rng
    cortex, urine = sampler.suv(2.0, 3.8), sampler.suv(4.5, 25.0)
    regions: list[Region] = []
    for side, level in ((-1, -612.0), (1, -598.0)):
        level += float(rng.normal(0, 8))
        kidney = sampler.ellipsoid(
            (side * 62, 46, level), (27, 24, 53), rotation_deg=(-12, side * 12, side * 30), shift_mm=3
        )
        regions.append(
            Region(
                "kidney",
                cortex,
                (sampler.displaced(kidney, amplitude_mm=1.2, wavelength_mm=30),),
                sampler.texture(0.15, 25),
            )
        )
        regions.append(
            Region(
                "renal sinus",
                cortex * 0.5,
                (sampler.ellipsoid((side * 54, 42, level), (11, 11, 28), scale_sigma=0.15),),
            )
        )
        calyces = [
            (side * (57 + float(rng.normal(0, 3))), 44.0, level + float(offset)) for offset in rng.normal(0, 18, 4)
        ]
        hot = float(urine * rng.uniform(0.25, 0.9))
        regions += [
            Region(
                "renal calyx",
                hot * float(rng.uniform(0.4, 1)),
                (sampler.ellipsoid(c, (6, 6, 8), scale_sigma=0.25),),
            )
            for c in calyces
        ]
        funnel = sampler.tube(
            ((side * 52, 42, level), (side * 40, 38, level - 14), (side * 36, 37, level - 35)),
            (7, 6, 3),
            shift_mm=2,
        )
        regions.append(Region("renal pelvis", hot, funnel))
        regions += _ureter(sampler, side=side, level=level - 35, suv=urine)
    fill = float(rng.uniform(0.55, 1.25))
    bladder = sampler.ellipsoid(
        (0, -20, -848 + 16 * fill),
        (34 * fill, 30 * fill, 22 * fill),
        rotation_deg=(12, 0, 0),
        shift_mm=3,
        scale_sigma=0.12,
    )
    bladder_suv = sampler.suv(5, 60)
    return [
        *regions,
        Region("bladder", bladder_suv, (sampler.displaced(bladder, amplitude_mm=1.5, wavelength_mm=50),)),
    ]


def make_genital(sampler: AnatomySampler) -> list[Region]:
    """Return uterus, or prostate and testes: SUV 1.4 to 2.7 in testes (Kosuda et al., Ann Nucl Med 1997)."""
    if sampler.habitus.female:
        uterus = sampler.ellipsoid((4, 10, -812), (24, 28, 20), shift_mm=5, scale_sigma=0.12)
        return [Region("uterus", sampler.suv(1.0, 2.4), (uterus,))]
    testes = tuple(sampler.ellipsoid((side * 15, -64, -915), (10, 12, 16), shift_mm=3) for side in (-1, 1))
    prostate = sampler.ellipsoid((0, 5, -880), (22, 16, 16))
    root = sampler.tube(((0, -20, -898), (0, -60, -890), (0, -78, -915)), (11, 12, 12))
    scrotum = Region("scrotum", 0.9, (*root, sampler.ellipsoid((0, -62, -912), (38, 24, 26))))
    return [
        scrotum,
        Region("testis", sampler.suv(1.4, 2.7), testes),
        Region("prostate", sampler.suv(1.0, 1.8), (prostate,)),
    ]


def _with_varying_uptake(
    sampler: AnatomySampler, name: str, tube: tuple[Capsule, ...], *, mean_suv: float, contours: Contours
) -> list[Region]:
    """Return the pieces of a tube as regions; the uptake is a mean-reverting random walk along the tube."""
    level, regions = 0.0, []
    texture = sampler.texture(0.2, 26)
    for piece in tube:
        level = 0.95 * level + float(sampler.rng.normal(0, 0.15))
        suv = float(np.clip(mean_suv * np.exp(level), 0.5, 7))
        regions.append(Region(name, suv, (Intersection(piece, contours.cavity),), texture))
    return regions


def _winding_path(rng: np.random.Generator) -> tuple[Vector, ...]:
    """Return points of a winding path in the middle of the abdomen."""
    position = np.array([rng.uniform(-60, 60), rng.uniform(-60, -10), rng.uniform(-770, -640)])
    heading = rng.standard_normal(3)
    path: list[Vector] = []
    for _ in range(22):
        heading = 0.6 * heading + rng.standard_normal(3)
        home = np.array([0, -35, -700]) - position
        heading += home * np.abs(home) / np.array([70, 35, 65]) ** 2
        position = position + heading / np.linalg.norm(heading) * 26
        path.append((float(position[0]), float(position[1]), float(position[2])))
    return tuple(path)


def _ureter(sampler: AnatomySampler, *, side: int, level: float, suv: float) -> list[Region]:
    """Return the pieces of a ureter that contain urine: peristalsis empties the others."""
    path = (
        (side * 36, 36, level),
        (side * 33, 26, -690),
        (side * 38, 26, -745),
        (side * 46, 40, -795),
        (side * 16, 12, -838),
    )
    pieces = sampler.tube(path, (2.6,) * 5, shift_mm=2.5, step_mm=14)
    filled = sampler.rng.random(len(pieces)) < sampler.rng.beta(1.0, 2.2)
    filled[1:] |= filled[:-1] & (sampler.rng.random(len(pieces) - 1) < 0.45)
    strength = suv * sampler.rng.uniform(0.35, 1.2, len(pieces))
    return [Region("ureter", float(s), (piece,)) for piece, s, on in zip(pieces, strength, filled, strict=True) if on]
