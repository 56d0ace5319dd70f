"""Physiological FDG uptake of head and neck, and of the occasional imitators of disease."""

from __future__ import annotations

from swfastedit_core.phantom.build import Region, Sculptor
from swfastedit_core.phantom.shapes import Shape


def make_head(sculptor: Sculptor) -> list[Region]:
    """Everything above the collar bones."""
    return [*_brain(sculptor), *_face(sculptor), *_neck(sculptor)]


def make_imitators(sculptor: Sculptor) -> list[Region]:
    """Return uptake that looks like disease and is none.

    Brown fat in one patient of 20, a tense neck muscle in one of 12, an injection site in one of 25.
    """
    rng = sculptor.rng
    regions: list[Region] = []
    if rng.random() < 0.05:
        suv = sculptor.suv(2.5, 10)
        for side in (-1, 1):
            pads = sculptor.tube(
                ((side * 38, 12, -265), (side * 75, 15, -285), (side * 115, 8, -312)), (7, 9, 6), shift_mm=3
            )
            regions.append(Region("brown fat", suv, pads, sculptor.texture(0.3, 25)))
    if rng.random() < 0.08:
        side = -1 if rng.random() < 0.5 else 1
        muscle = sculptor.ellipsoid((side * 40, 40, -270), (9, 9, 42), turn_deg=(0, side * 14, 0), vary=0.15)
        regions.append(Region("tense muscle", sculptor.suv(1.6, 4), (muscle,)))
    if rng.random() < 0.04 and not sculptor.build.arms_up:
        spot = sculptor.ellipsoid((206, 20, -610), (9, 9, 26), shift_mm=3, vary=0.2)
        regions.append(Region("injection site", sculptor.suv(4, 40), (spot,)))
    return regions


def _brain(sculptor: Sculptor) -> list[Region]:
    """Cortex 6 to 14, white matter about a third of it: grey to white is 2.5 to 4."""
    grey = sculptor.suv(6, 14)
    whole = sculptor.ellipsoid((0, 2, -74), (63, 80, 57), vary=0.02)
    white: list[Shape] = [
        sculptor.lumpy(
            sculptor.ellipsoid((side * 25, 2, -68), (20, 56, 34), vary=0.02), amplitude_mm=5, wavelength_mm=20
        )
        for side in (-1, 1)
    ]
    deep: list[Shape] = []
    for side in (-1, 1):
        deep.append(sculptor.ellipsoid((side * 22, -12, -82), (9, 18, 13), turn_deg=(0, 0, side * 12)))
        deep.append(sculptor.ellipsoid((side * 9, 12, -82), (8, 13, 10)))
    split = sculptor.ellipsoid((0, 0, -45), (2.5, 78, 36), vary=0)
    hollow = tuple(sculptor.ellipsoid((side * 8, 4, -68), (5, 30, 9), vary=0.15) for side in (-1, 1))
    stem = sculptor.tube(((0, 14, -98), (0, 18, -125), (0, 20, -155)), (13, 12, 7))
    return [
        Region("brain stem", grey * 0.5, stem),
        Region(
            "cerebellum",
            grey * 0.75,
            (sculptor.ellipsoid((0, 46, -122), (46, 30, 23)),),
            sculptor.texture(0.1, 18),
        ),
        Region(
            "brain",
            grey,
            (sculptor.lumpy(whole, amplitude_mm=1.5, wavelength_mm=25),),
            sculptor.texture(0.12, 30),
        ),
        Region("white matter", grey * 0.38, tuple(white)),
        Region("fissure", grey * 0.5, (split,)),
        Region("basal ganglia", grey * 1.0, tuple(deep)),
        Region("ventricle", grey * 0.2, hollow),
    ]


def _face(sculptor: Sculptor) -> list[Region]:
    """Mucosa, gums, eye muscles and salivary glands: 1.2 to 3.5 (Nakamoto et al., Radiology 2005)."""
    gums = sculptor.tube(
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
    airway = sculptor.tube(
        ((0, -78, -148), (0, -40, -152), (0, -14, -165), (0, -6, -200), (0, -4, -232)), (11, 13, 12, 10, 9)
    )
    eyes = tuple(sculptor.ellipsoid((side * 32, -60, -112), (13, 20, 11)) for side in (-1, 1))
    parotids = tuple(sculptor.ellipsoid((side * 52, 4, -172), (11, 17, 24), shift_mm=2) for side in (-1, 1))
    jaw_glands = tuple(sculptor.ellipsoid((side * 28, -34, -208), (10, 14, 11), shift_mm=2) for side in (-1, 1))
    tonsils = tuple(sculptor.ellipsoid((side * 19, -20, -192), (7, 9, 13), shift_mm=1.5, vary=0.15) for side in (-1, 1))
    return [
        Region("gums", sculptor.suv(1.1, 2.2), gums, sculptor.texture(0.3, 30)),
        Region("tongue", sculptor.suv(1.0, 2.0), (sculptor.ellipsoid((0, -42, -196), (20, 26, 16)),)),
        Region("nose and throat", sculptor.suv(1.2, 2.6), airway, sculptor.texture(0.25, 25)),
        Region("airway", 0.3, sculptor.tube(((0, -2, -205), (0, 2, -250), (0, 10, -330)), (5, 7, 8))),
        Region("eye", sculptor.suv(1.2, 3.0), eyes),
        Region("parotid", sculptor.suv(0.8, 1.9), parotids, sculptor.texture(0.2, 20)),
        Region("submandibular gland", sculptor.suv(1.0, 2.4), jaw_glands),
        Region("tonsil", sculptor.suv(1.3, 4.5), tonsils, sculptor.texture(0.2, 25)),
    ]


def _neck(sculptor: Sculptor) -> list[Region]:
    """Larynx and thyroid; paired neck muscles a little above rest."""
    thyroid = tuple(sculptor.ellipsoid((side * 18, -12, -262), (8, 9, 20), shift_mm=1.5) for side in (-1, 1))
    larynx = sculptor.ellipsoid((0, -20, -235), (15, 11, 13))
    muscles: list[Shape] = []
    for side in (-1, 1):
        muscles += sculptor.tube(((side * 50, 30, -165), (side * 40, 0, -230), (side * 20, -20, -285)), (9, 11, 8))
    return [
        Region("neck muscles", sculptor.suv(0.7, 1.2), tuple(muscles)),
        Region("larynx", sculptor.suv(1.2, 2.8), (larynx,)),
        Region("thyroid", sculptor.suv(1.0, 2.2), thyroid),
    ]
