"""Physiological FDG uptake of head and neck, and occasional benign uptake that resembles lesions."""

from __future__ import annotations

from swfastedit_core.phantom.anatomy import AnatomySampler, Region
from swfastedit_core.phantom.shapes import Shape


def make_head(sampler: AnatomySampler) -> list[Region]:
    """Return brain, face and neck."""
    return [*_brain(sampler), *_face(sampler), *_neck(sampler)]


def make_benign_uptake(sampler: AnatomySampler) -> list[Region]:
    """Return benign uptake that resembles lesions.

    Brown fat in one of 20 patients, a tense neck muscle in one of 12, an injection site in one of 25 with arms down.
    """
    rng = sampler.rng
    regions: list[Region] = []
    if rng.random() < 0.05:
        suv = sampler.suv(2.5, 10)
        for side in (-1, 1):
            pads = sampler.tube(
                ((side * 38, 12, -265), (side * 75, 15, -285), (side * 115, 8, -312)), (7, 9, 6), shift_mm=3
            )
            regions.append(Region("brown fat", suv, pads, sampler.texture(0.3, 25)))
    if rng.random() < 0.08:
        side = -1 if rng.random() < 0.5 else 1
        muscle = sampler.ellipsoid((side * 40, 40, -270), (9, 9, 42), rotation_deg=(0, side * 14, 0), scale_sigma=0.15)
        regions.append(Region("tense muscle", sampler.suv(1.6, 4), (muscle,)))
    if rng.random() < 0.04 and not sampler.habitus.arms_up:
        spot = sampler.ellipsoid((206, 20, -610), (9, 9, 26), shift_mm=3, scale_sigma=0.2)
        regions.append(Region("injection site", sampler.suv(4, 40), (spot,)))
    return regions


def _brain(sampler: AnatomySampler) -> list[Region]:
    """Return the brain: SUV 6 to 14 in the cortex, 0.38 of that in white matter (grey to white is 2.5 to 4)."""
    grey = sampler.suv(6, 14)
    whole = sampler.ellipsoid((0, 2, -74), (63, 80, 57), scale_sigma=0.02)
    white: list[Shape] = [
        sampler.displaced(
            sampler.ellipsoid((side * 25, 2, -68), (20, 56, 34), scale_sigma=0.02), amplitude_mm=5, wavelength_mm=20
        )
        for side in (-1, 1)
    ]
    deep: list[Shape] = []
    for side in (-1, 1):
        deep.append(sampler.ellipsoid((side * 22, -12, -82), (9, 18, 13), rotation_deg=(0, 0, side * 12)))
        deep.append(sampler.ellipsoid((side * 9, 12, -82), (8, 13, 10)))
    fissure = sampler.ellipsoid((0, 0, -45), (2.5, 78, 36), scale_sigma=0)
    ventricles = tuple(sampler.ellipsoid((side * 8, 4, -68), (5, 30, 9), scale_sigma=0.15) for side in (-1, 1))
    stem = sampler.tube(((0, 14, -98), (0, 18, -125), (0, 20, -155)), (13, 12, 7))
    return [
        Region("brain stem", grey * 0.5, stem),
        Region(
            "cerebellum",
            grey * 0.75,
            (sampler.ellipsoid((0, 46, -122), (46, 30, 23)),),
            sampler.texture(0.1, 18),
        ),
        Region(
            "brain",
            grey,
            (sampler.displaced(whole, amplitude_mm=1.5, wavelength_mm=25),),
            sampler.texture(0.12, 30),
        ),
        Region("white matter", grey * 0.38, tuple(white)),
        Region("fissure", grey * 0.5, (fissure,)),
        Region("basal ganglia", grey * 1.0, tuple(deep)),
        Region("ventricle", grey * 0.2, ventricles),
    ]


def _face(sampler: AnatomySampler) -> list[Region]:
    """Return mucosa, gums, eyes, tonsils and salivary glands: SUV 0.8 to 4.5 (Nakamoto et al., Radiology 2005)."""
    gums = sampler.tube(
        (
            (-44, -8, -182),
            (-36, -42, -194),
            (-18, -66, -198),
            (0, -74, -200),
            (18, -66, -198),
            (36, -42, -194),
            (44, -8, -182),
        ),
        (7, 6, 6, 6, 6, 6, 7),
    )
    airway = sampler.tube(
        ((0, -78, -148), (0, -40, -152), (0, -14, -165), (0, -6, -200), (0, -4, -232)), (11, 13, 12, 10, 9)
    )
    eyes = tuple(sampler.ellipsoid((side * 32, -60, -112), (13, 20, 11)) for side in (-1, 1))
    parotids = tuple(sampler.ellipsoid((side * 52, 4, -172), (11, 17, 24), shift_mm=2) for side in (-1, 1))
    jaw_glands = tuple(sampler.ellipsoid((side * 28, -34, -208), (10, 14, 11), shift_mm=2) for side in (-1, 1))
    tonsils = tuple(
        sampler.ellipsoid((side * 19, -20, -192), (7, 9, 13), shift_mm=1.5, scale_sigma=0.15) for side in (-1, 1)
    )
    return [
        Region("gums", sampler.suv(1.1, 2.2), gums, sampler.texture(0.3, 30)),
        Region("tongue", sampler.suv(1.0, 2.0), (sampler.ellipsoid((0, -42, -196), (20, 26, 16)),)),
        Region("nose and throat", sampler.suv(1.2, 2.6), airway, sampler.texture(0.25, 25)),
        Region("airway", 0.3, sampler.tube(((0, -2, -205), (0, 2, -250), (0, 10, -330)), (5, 7, 8))),
        Region("eye", sampler.suv(1.2, 3.0), eyes),
        Region("parotid", sampler.suv(0.8, 1.9), parotids, sampler.texture(0.2, 20)),
        Region("submandibular gland", sampler.suv(1.0, 2.4), jaw_glands),
        Region("tonsil", sampler.suv(1.3, 4.5), tonsils, sampler.texture(0.2, 25)),
    ]


def _neck(sampler: AnatomySampler) -> list[Region]:
    """Return larynx, thyroid and neck muscles."""
    thyroid = tuple(sampler.ellipsoid((side * 18, -12, -262), (8, 9, 20), shift_mm=1.5) for side in (-1, 1))
    larynx = sampler.ellipsoid((0, -20, -235), (15, 11, 13))
    muscles: list[Shape] = []
    for side in (-1, 1):
        muscles += sampler.tube(((side * 50, 30, -165), (side * 40, 0, -230), (side * 20, -20, -285)), (9, 11, 8))
    return [
        Region("neck muscles", sampler.suv(0.7, 1.2), tuple(muscles)),
        Region("larynx", sampler.suv(1.2, 2.8), (larynx,)),
        Region("thyroid", sampler.suv(1.0, 2.2), thyroid),
    ]
