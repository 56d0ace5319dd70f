"""Anatomical sites of lesions, and how often each disease affects them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swfastedit_core.phantom.anatomy import Habitus
from swfastedit_core.phantom.skeleton import spine_point
from swfastedit_core.phantom.space import Vector


@dataclass(frozen=True)
class Site:
    """An anatomical site where lesions occur.

    Attributes
    ----------
    name
        Such as "neck node" or "liver".
    centre_mm, spread_mm
        Centre of the site, LPS, and largest distance of a lesion's centre from it along x, y, z.
    median_ml, largest_ml
        Median and largest volume of a lesion.
    nodal
        Whether lesions may merge into conglomerates.
    """

    name: str
    centre_mm: Vector
    spread_mm: Vector
    median_ml: float
    largest_ml: float
    nodal: bool


@dataclass(frozen=True)
class Disease:
    """A disease: typical contrast of its lesions, and weights of sites; a key is the end of the site's name."""

    name: str
    contrast: float
    weights: tuple[tuple[str, float], ...]

    def weight(self, site: Site) -> float:
        """Return the relative frequency of lesions at a site."""
        matching = (weight for ending, weight in self.weights if site.name.endswith(ending))
        return next(matching, 0.01)


# Contrast is relative to the surroundings: SUV 5 to 20 over 0.5 to 1.5 in lymphoma, about 2.5 to 8 in sarcoma.
DISEASES = (
    Disease("lymphoma", 8.0, (("node", 1.0), ("spleen", 0.5), ("vertebra", 0.1), ("bone", 0.1))),
    Disease(
        "lung cancer", 7.0,
        (("lung", 1.0), ("mediastinal node", 1.2), ("neck node", 0.3), ("pericardial node", 0.3),
         ("vertebra", 0.25), ("bone", 0.3), ("liver", 0.4), ("adrenal", 0.8)),
    ),
    Disease(
        "melanoma", 6.0,
        (("node", 0.3), ("limb", 0.4), ("wall", 0.4), ("lung", 0.3), ("liver", 0.4), ("vertebra", 0.1),
         ("bone", 0.2), ("bowel", 0.5)),
    ),
    Disease("sarcoma", 4.0, (("limb", 2.0), ("lung", 0.4), ("wall", 0.4), ("pelvis", 0.3), ("bone", 0.1))),
    Disease(
        "bowel cancer", 4.5,
        (("liver", 1.0), ("bowel", 1.0), ("pelvis", 0.6), ("retroperitoneal node", 0.3), ("lung", 0.3)),
    ),
    Disease("bone metastases", 5.0, (("vertebra", 0.5), ("bone", 1.0), ("iliac node", 0.3), ("pelvis", 0.2))),
    Disease(
        "cancer of the pelvis", 6.0,
        (("pelvis", 3.0), ("iliac node", 1.0), ("inguinal node", 0.4), ("retroperitoneal node", 0.5),
         ("lung", 0.1)),
    ),
    Disease("cancer of head and neck", 7.0, (("throat", 4.0), ("neck node", 2.0), ("lung", 0.1))),
)  # fmt: skip

# Columns in mm of the reference body: name, x on the left side, y, z, spread along x, y, z; median and largest ml.
PAIRED: tuple[tuple[str, float, float, float, Vector, float, float], ...] = (
    ("neck node", 44, 8, -215, (8, 12, 25), 2.2, 60), ("neck node", 42, 16, -265, (12, 10, 15), 2.2, 60),
    ("axillary node", 142, 4, -362, (14, 14, 22), 2.2, 90),
    ("mediastinal node", 18, 0, -365, (14, 18, 30), 2.2, 120),
    ("mediastinal node", 30, 6, -408, (10, 12, 15), 2.2, 90),
    ("pericardial node", 58, -62, -470, (14, 10, 16), 1.5, 20),
    ("retroperitoneal node", 26, 16, -640, (12, 12, 70), 2.2, 120),
    ("mesenteric node", 18, -32, -660, (24, 16, 40), 2.2, 120),
    ("iliac node", 52, 20, -785, (10, 14, 30), 2.2, 60),
    ("inguinal node", 72, -62, -872, (12, 10, 20), 2.2, 50),
    ("throat", 16, -24, -192, (6, 10, 14), 3, 30),
    ("lung", 76, 4, -395, (34, 52, 80), 4, 200), ("chest wall", 120, -40, -430, (16, 30, 60), 4, 150),
    ("adrenal", 40, 30, -562, (6, 6, 8), 4, 40),
    ("upper limb", 165, 12, -330, (8, 8, 14), 8, 80), ("lower limb", 84, 8, -960, (28, 28, 70), 60, 500),
    ("lower limb", 84, 60, -860, (30, 15, 40), 30, 300), ("lower limb", 78, 16, -1400, (14, 14, 90), 15, 150),
    ("rib bone", 118, 15, -430, (10, 40, 90), 2, 30), ("pelvic bone", 78, 30, -745, (8, 30, 34), 4, 80),
    ("femoral bone", 86, 8, -870, (8, 8, 40), 4, 60), ("humeral bone", 150, 22, -328, (8, 8, 10), 3, 40),
    ("scapular bone", 100, 82, -355, (25, 6, 30), 3, 40), ("bowel", 92, 0, -680, (12, 16, 60), 10, 120),
)  # fmt: skip
SINGLE: tuple[tuple[str, float, float, float, Vector, float, float], ...] = (
    ("liver", -72, -2, -520, (52, 60, 60), 8, 300), ("liver", 5, -46, -498, (50, 18, 18), 5, 80),
    ("spleen", 104, 40, -520, (14, 24, 34), 4, 60), ("sternal bone", 0, -88, -415, (5, 5, 40), 3, 30),
    ("pelvis", 0, 22, -818, (28, 14, 20), 20, 250), ("pelvis", 10, -10, -795, (24, 16, 12), 15, 150),
    ("sacral bone", 0, 62, -790, (28, 8, 30), 5, 60), ("abdominal wall", 20, -75, -690, (60, 12, 70), 4, 100),
    ("oesophageal wall", 4, 30, -420, (4, 5, 60), 8, 60),
)  # fmt: skip


def sites(habitus: Habitus) -> tuple[Site, ...]:
    """Return all sites of a patient."""
    return tuple(_sites(habitus))


def _sites(habitus: Habitus) -> Iterator[Site]:
    for name, x, y, z, spread, median_ml, largest_ml in PAIRED:
        for side in (-1, 1):
            yield _site(habitus, name, (side * x, y, z), spread=spread, volumes_ml=(median_ml, largest_ml))
    for name, x, y, z, spread, median_ml, largest_ml in SINGLE:
        yield _site(habitus, name, (x, y, z), spread=spread, volumes_ml=(median_ml, largest_ml))
    for z in range(-735, -300, 35):
        yield _site(habitus, "vertebra", spine_point(z), spread=(8, 8, 8), volumes_ml=(3, 30))


def _site(habitus: Habitus, name: str, at: Vector, *, spread: Vector, volumes_ml: tuple[float, float]) -> Site:
    wide, high = habitus.frame_scale, habitus.height_scale
    spread_mm = (spread[0] * wide, spread[1] * wide, spread[2] * high)
    return Site(name, habitus.to_patient(*at), spread_mm, *volumes_ml, nodal=name.endswith("node"))
