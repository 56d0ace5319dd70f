"""One patient: a continuous description in patient millimetres, and the field of view they are scanned in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.abdomen import make_abdomen, make_bowel, make_genital, make_urinary
from swfastedit_core.phantom.body import make_frame
from swfastedit_core.phantom.build import Build, Region, Sculptor, draw_build
from swfastedit_core.phantom.chest import make_chest, make_heart
from swfastedit_core.phantom.head import make_head, make_imitators
from swfastedit_core.phantom.lesions import Lesion, draw_lesion_count, draw_lesions
from swfastedit_core.phantom.scanner import Scanner, draw_scanner
from swfastedit_core.phantom.sites import stations
from swfastedit_core.phantom.skeleton import make_skeleton
from swfastedit_core.volume import Geometry

# In-plane size and spacing, slice spacing: autoPET, Siemens mCT, GE Discovery ST and 690, Philips.
GRIDS = (
    (400, 2.03642, 3.0), (200, 4.07283, 3.0), (200, 4.07283, 5.0), (168, 4.07283, 4.0),
    (128, 4.6875, 3.27), (128, 5.46875, 3.27), (256, 2.73438, 3.27), (192, 3.64583, 3.27), (144, 4.0, 4.0),
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """What lies on the table, and how it is scanned.

    Coordinates are patient millimetres (LPS) with x = 0 in the midline and z = 0 at the vertex, the feet at
    about z = -1720.

    Attributes
    ----------
    build
        Body size and posture.
    healthy
        Regions of physiological uptake, in the order of painting.
    lesions
        Lesions, to be painted over them.
    scanner
        Resolution and noise.
    levels_mm
        Lowest and highest z of the scan.
    """

    build: Build
    healthy: tuple[Region, ...]
    lesions: tuple[Lesion, ...]
    scanner: Scanner
    levels_mm: tuple[float, float]


def draw_patient(seed: int, *, lesions: int | None = None) -> Patient:
    """Draw a patient; the same seed gives the same healthy body whatever the number of lesions.

    Parameters
    ----------
    seed
        Zero or more.
    lesions
        How many, 0 to 30; None draws the number as well.
    """
    body_rng, lesion_rng, scan_rng = _streams(seed, 3)
    build = draw_build(body_rng)
    sculptor = Sculptor(build, body_rng)
    blood_suv = sculptor.suv(1.2, 1.9)
    frame, tissue = make_frame(sculptor)
    healthy = (
        *tissue,
        *make_chest(sculptor, frame, blood_suv=blood_suv),
        *make_skeleton(sculptor, frame),
        *make_bowel(sculptor, frame),
        *make_abdomen(sculptor, frame, blood_suv=blood_suv),
        *make_heart(sculptor, blood_suv=blood_suv),
        *make_genital(sculptor),
        *make_urinary(sculptor),
        *make_head(sculptor),
        *make_imitators(sculptor),
    )
    levels_mm = _draw_levels(scan_rng, build)
    found = draw_lesions(
        lesion_rng,
        count=draw_lesion_count(lesion_rng) if lesions is None else lesions,
        stations=stations(build),
        healthy=healthy,
        body=frame.skin,
        levels_mm=levels_mm,
    )
    return Patient(build, healthy, found, draw_scanner(scan_rng, fat_mm=build.fat_mm), levels_mm)


def field_of_view(seed: int, *, spacing_mm: tuple[float, float, float] | None = None) -> Geometry:
    """Draw the grid on which the patient of a seed is scanned.

    Parameters
    ----------
    seed
        The patient's.
    spacing_mm
        Voxel size along x, y, z; None draws that of a scanner.

    Returns
    -------
    Geometry
        Axis-aligned in LPS; skull base or vertex to mid-thigh or feet, 650 to 820 mm wide.
    """
    _, _, scan_rng, grid_rng = _streams(seed, 4)
    low, high = _draw_levels(scan_rng, draw_build(_streams(seed, 1)[0]))
    size, in_plane, slices = GRIDS[int(grid_rng.integers(len(GRIDS)))]
    width_mm = max(size * in_plane, 570.0)
    spacing = (in_plane, in_plane, slices) if spacing_mm is None else spacing_mm
    count_x, count_y = (max(1, round(width_mm / step)) for step in spacing[:2])
    count_z = max(1, round((high - low) / spacing[2]))
    shift = grid_rng.normal(0, 8, 2)
    origin_mm = (
        float(shift[0]) - (count_x - 1) * spacing[0] / 2,
        float(shift[1]) - (count_y - 1) * spacing[1] / 2,
        low + spacing[2] / 2,
    )
    return Geometry((count_x, count_y, count_z), spacing, origin_mm)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    """Independent sources of chance: body, lesions, scan, grid, noise."""
    return [np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(seed).spawn(count)]


def noise_stream(seed: int) -> np.random.Generator:
    """Source of chance of the scan's noise."""
    return _streams(seed, 5)[4]


def _draw_levels(rng: np.random.Generator, build: Build) -> tuple[float, float]:
    """Vertex or skull base to mid-thigh; one in eight down to the feet."""
    top = float(rng.uniform(5, 40)) if rng.random() < 0.6 else float(rng.uniform(-125, -70))
    bottom = float(rng.uniform(-1740, -1715)) if rng.random() < 0.12 else float(rng.uniform(-1120, -1000))
    return bottom * build.height_scale, top * build.height_scale
