"""A patient as solids in patient millimetres, and the field of view of the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.abdomen import make_abdomen, make_bowel, make_genital, make_urinary
from swfastedit_core.phantom.anatomy import AnatomySampler, Habitus, Region, sample_habitus
from swfastedit_core.phantom.body import make_contours
from swfastedit_core.phantom.chest import make_chest, make_heart
from swfastedit_core.phantom.head import make_benign_uptake, make_head
from swfastedit_core.phantom.lesion_sites import sites
from swfastedit_core.phantom.lesions import Lesion, sample_lesion_count, sample_lesions
from swfastedit_core.phantom.scanner import Scanner, sample_scanner
from swfastedit_core.phantom.skeleton import make_skeleton
from swfastedit_core.volume import Geometry

# In-plane size and spacing, slice spacing: autoPET, Siemens mCT, GE Discovery ST and 690, Philips.
GRIDS = (
    (400, 2.03642, 3.0), (200, 4.07283, 3.0), (200, 4.07283, 5.0), (168, 4.07283, 4.0),
    (128, 4.6875, 3.27), (128, 5.46875, 3.27), (256, 2.73438, 3.27), (192, 3.64583, 3.27), (144, 4.0, 4.0),
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """A patient and the scanner.

    Coordinates are patient millimetres (LPS) with x = 0 in the midline and z = 0 at the vertex, the feet at
    about z = -1720.

    Attributes
    ----------
    habitus
        Body size and posture.
    healthy
        Regions of physiological uptake, in the order of painting.
    lesions
        Lesions, painted over the healthy regions.
    scanner
        Resolution and noise.
    z_range_mm
        Lowest and highest z of the scan.
    """

    habitus: Habitus
    healthy: tuple[Region, ...]
    lesions: tuple[Lesion, ...]
    scanner: Scanner
    z_range_mm: tuple[float, float]


def sample_patient(seed: int, *, lesions: int | None = None) -> Patient:
    """Sample a patient. The healthy body depends on the seed only, not on the number of lesions.

    Parameters
    ----------
    seed
        0 or more.
    lesions
        Number of lesions, 0 to 30; None: sampled.
    """
    body_rng, lesion_rng, scan_rng = _rngs(seed, 3)
    habitus = sample_habitus(body_rng)
    sampler = AnatomySampler(habitus, body_rng)
    blood_suv = sampler.suv(1.2, 1.9)
    contours, tissue = make_contours(sampler)
    healthy = (
        *tissue,
        *make_chest(sampler, contours, blood_suv=blood_suv),
        *make_skeleton(sampler, contours),
        *make_bowel(sampler, contours),
        *make_abdomen(sampler, contours, blood_suv=blood_suv),
        *make_heart(sampler, blood_suv=blood_suv),
        *make_genital(sampler),
        *make_urinary(sampler),
        *make_head(sampler),
        *make_benign_uptake(sampler),
    )
    z_range_mm = _sample_z_range(scan_rng, habitus)
    lesions_of_patient = sample_lesions(
        lesion_rng,
        count=sample_lesion_count(lesion_rng) if lesions is None else lesions,
        sites=sites(habitus),
        healthy=healthy,
        body=contours.skin,
        z_range_mm=z_range_mm,
    )
    return Patient(habitus, healthy, lesions_of_patient, sample_scanner(scan_rng, fat_mm=habitus.fat_mm), z_range_mm)


def field_of_view(seed: int, *, spacing_mm: tuple[float, float, float] | None = None) -> Geometry:
    """Sample the grid on which the patient of a seed is scanned.

    Parameters
    ----------
    seed
        Seed of the patient.
    spacing_mm
        Voxel size along x, y, z; None: sampled from common scanners.

    Returns
    -------
    Geometry
        Axis-aligned in LPS; from skull base or vertex to mid-thigh or feet; 576 to 815 mm wide.
    """
    _, _, scan_rng, grid_rng = _rngs(seed, 4)
    low, high = _sample_z_range(scan_rng, sample_habitus(_rngs(seed, 1)[0]))
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


def _rngs(seed: int, count: int) -> list[np.random.Generator]:
    """Return independent random number generators, in this order: body, lesions, scan, grid, noise."""
    return [np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(seed).spawn(count)]


def noise_rng(seed: int) -> np.random.Generator:
    """Return the random number generator for the noise of a scan."""
    return _rngs(seed, 5)[4]


def _sample_z_range(rng: np.random.Generator, habitus: Habitus) -> tuple[float, float]:
    """Sample the extent of a scan: vertex or skull base to mid-thigh; one of eight reaches the feet."""
    top = float(rng.uniform(5, 40)) if rng.random() < 0.6 else float(rng.uniform(-125, -70))
    bottom = float(rng.uniform(-1740, -1715)) if rng.random() < 0.12 else float(rng.uniform(-1120, -1000))
    return bottom * habitus.height_scale, top * habitus.height_scale
