"""The figures of a report, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.box import Box

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """The figures of one lesion: an 18-connected component of the mask.

    Attributes
    ----------
    number
        1 is the largest lesion, in the table, on the pictures and in the files.
    voxels, volume_ml
        Size; the volume of the counted voxels, also called MTV.
    suv_max, suv_mean, suv_peak
        Highest and mean SUV; the IBSI's global intensity peak (0F91): the highest mean over a sphere of 1 ml whose
        centre is a voxel of the lesion.
    tlg_g
        Total lesion glycolysis: `suv_mean` times `volume_ml`, in g.
    surface_mm2, sphericity, longest_diameter_mm
        Of the mesh, as the IBSI defines them (C0JK, QCFX, L0JK).
    centroid_mm, centroid_xyz
        Mean of the voxel centres: patient coordinates (L, P, S), and voxels (x, y, z) of the file counted from 0.
    box_mm
        Lowest and highest patient coordinates of the outer faces of its voxels.
    box
        Its voxels along x, y, z of the file.
    liver_ratio_max, liver_ratio_mean
        `suv_max` and `suv_mean` divided by the mean of the liver reference; None without a reference.
    """

    number: int
    voxels: int
    volume_ml: float
    suv_max: float
    suv_mean: float
    suv_peak: float
    tlg_g: float
    surface_mm2: float
    sphericity: float
    longest_diameter_mm: float
    centroid_mm: Point
    centroid_xyz: Point
    box_mm: tuple[Point, Point]
    box: Box
    liver_ratio_max: float | None = None
    liver_ratio_mean: float | None = None


@dataclass(frozen=True, kw_only=True)
class Liver:
    """The liver reference: SUV in a sphere of 3 cm.

    Attributes
    ----------
    centre_mm
        Patient coordinates (L, P, S).
    guessed
        Whether the program found the place itself; False if the user gave it.
    voxels, suv_mean, suv_sd
        Number of voxels in the sphere, mean and standard deviation.
    in_range
        Whether the mean is within 1.3 to 3.0, the quality check of the EANM.
    percist_suv
        Threshold of PERCIST for a measurable lesion, 1.5 times the mean plus 2 standard deviations, here of SUV by
        body weight (PERCIST: by lean body mass).
    """

    centre_mm: Point
    guessed: bool
    voxels: int
    suv_mean: float
    suv_sd: float
    in_range: bool
    percist_suv: float


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The figures of the patient.

    Attributes
    ----------
    lesions
        Number of lesions.
    mtv_ml, tlg_g, suv_max
        Sum of the volumes (tMTV), sum of TLG, highest SUV; `suv_max` is None without lesions.
    dmax_centroids_mm, dmax_voxels_mm
        Longest distance of two lesions: of their centroids (0 for one lesion), and of their farthest voxels (for one
        lesion its own length). None without lesions. Both forms are in use (Cottereau et al.).
    sdmax_centroids_per_m, sdmax_voxels_per_m
        The same divided by the body surface area, in m/m²; None if the area is unknown.
    """

    lesions: int
    mtv_ml: float
    tlg_g: float
    suv_max: float | None
    dmax_centroids_mm: float | None
    dmax_voxels_mm: float | None
    sdmax_centroids_per_m: float | None = None
    sdmax_voxels_per_m: float | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsTerms:
    """The weights that made a mask, and their terms."""

    source: str
    licence: str
    attribution: str
    demonstration: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report: files, how the mask was made, lesions, totals, liver, warnings.

    Attributes
    ----------
    pet, mask
        The files.
    method
        How the mask was made, in words; totals without it cannot be compared.
    size_xyz, spacing_mm
        The PET's grid.
    lesions
        By number.
    totals
        Of the patient.
    liver
        None without a reference.
    liver_note
        Why there is no reference, or that its place is a guess; empty if the user gave the place.
    body_surface_m2
        Body surface area; None if unknown.
    weights
        Of the networks that made the mask; empty if it was not made here.
    processing
        Names and values of what was done, for people: engine, device, precision, windows, seconds.
    warnings
        What is odd about the scan or the weights.
    program
        Name and version of the program.
    created
        Date and time, ISO 8601, with the time zone.
    """

    pet: Path
    mask: Path
    method: str
    size_xyz: tuple[int, int, int]
    spacing_mm: Point
    lesions: tuple[Lesion, ...]
    totals: Totals
    liver: Liver | None
    liver_note: str
    body_surface_m2: float | None
    weights: tuple[WeightsTerms, ...]
    processing: dict[str, str]
    warnings: tuple[str, ...]
    program: str
    created: str
