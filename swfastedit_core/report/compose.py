"""From a scan and its mask to a report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path

import numpy as np

from swfastedit_core.report.figures.dissemination import body_surface_m2, dmax_of_centroids_mm, dmax_of_voxels_mm
from swfastedit_core.report.figures.find_liver import find_liver
from swfastedit_core.report.figures.lesions import number_lesions
from swfastedit_core.report.figures.liver import measure_liver, sphere_zyx
from swfastedit_core.report.figures.measure import measure_lesions
from swfastedit_core.report.files import PROGRAM
from swfastedit_core.report.record import Lesion, Liver, Point, Report, Totals, WeightsTerms
from swfastedit_core.volume import Volume

GUESS = "found in the PET alone; check the place, or give another one by --liver of python -m swfastedit_core.report"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a scan and its mask come from; the attributes are those of `Report`."""

    pet: Path
    mask: Path
    method: str
    weights: tuple[WeightsTerms, ...] = ()
    processing: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BodySize:
    """Height and weight of a patient, for the body surface area."""

    height_cm: float
    weight_kg: float

    @property
    def surface_m2(self) -> float:
        """Body surface area by the formula of Du Bois."""
        return body_surface_m2(height_cm=self.height_cm, weight_kg=self.weight_kg)


def make_report(
    pet: Volume, mask_zyx: np.ndarray, origin: Origin, *, liver_mm: Point | None = None, body: BodySize | None = None
) -> tuple[Report, np.ndarray]:
    """Measure the lesions of a scan.

    Parameters
    ----------
    pet
        SUV [Z, Y, X] of any geometry.
    mask_zyx
        Voxels on the PET's grid; those that are not 0 are lesion.
    origin
        Files, and how the mask was made.
    liver_mm
        Middle of the liver sphere in patient coordinates (L, P, S); None: the program looks for one.
    body
        Height and weight; None if they are not known.

    Returns
    -------
    report : Report
        The figures.
    numbers_zyx : ndarray
        Lesion numbers, int32 [Z, Y, X].

    Raises
    ------
    UserError
        If the liver sphere that was given is not inside of the image.
    """
    grid = pet.geometry
    with ThreadPoolExecutor(1) as pool:  # the search takes as long as the lesions
        search = pool.submit(_liver, pet, mask_zyx, liver_mm)
        numbers_zyx, count = number_lesions(mask_zyx)
        measured = measure_lesions(pet, numbers_zyx, count)
        dmax_voxels_mm = dmax_of_voxels_mm(numbers_zyx, count, grid)
        liver, note = search.result()
    lesions = tuple(_with_ratios(lesion, liver) for lesion in measured)
    surface_m2 = None if body is None else body.surface_m2
    report = Report(
        pet=origin.pet,
        mask=origin.mask,
        method=origin.method,
        size_xyz=grid.size_xyz,
        spacing_mm=grid.spacing_mm,
        lesions=lesions,
        totals=_totals(lesions, dmax_voxels_mm, surface_m2),
        liver=liver,
        liver_note=note,
        body_surface_m2=surface_m2,
        weights=origin.weights,
        processing=origin.processing,
        warnings=origin.warnings,
        program=_program(),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    return report, numbers_zyx


def _totals(lesions: tuple[Lesion, ...], dmax_voxels_mm: float | None, surface_m2: float | None) -> Totals:
    dmax_centroids_mm = dmax_of_centroids_mm(np.array([lesion.centroid_mm for lesion in lesions]))
    return Totals(
        lesions=len(lesions),
        mtv_ml=sum(lesion.volume_ml for lesion in lesions),
        tlg_g=sum(lesion.tlg_g for lesion in lesions),
        suv_max=max((lesion.suv_max for lesion in lesions), default=None),
        dmax_centroids_mm=dmax_centroids_mm,
        dmax_voxels_mm=dmax_voxels_mm,
        sdmax_centroids_per_m=_sdmax_per_m(dmax_centroids_mm, surface_m2),
        sdmax_voxels_per_m=_sdmax_per_m(dmax_voxels_mm, surface_m2),
    )


def _sdmax_per_m(dmax_mm: float | None, surface_m2: float | None) -> float | None:
    return None if dmax_mm is None or surface_m2 is None else dmax_mm / 1000 / surface_m2


def _liver(pet: Volume, mask_zyx: np.ndarray, given_mm: Point | None) -> tuple[Liver | None, str]:
    """Return the liver reference and a note on it."""
    if given_mm is not None:
        liver = measure_liver(pet, given_mm, guessed=False)
        inside = int(np.count_nonzero(mask_zyx[sphere_zyx(given_mm, pet.geometry)]))
        return liver, f"{inside} of the {liver.voxels} voxels of the sphere are in lesions" if inside else ""
    found_mm, reason = find_liver(pet, mask_zyx)
    if found_mm is None:
        return None, f"no liver reference was found: {reason}"
    return measure_liver(pet, found_mm, guessed=True), GUESS


def _with_ratios(lesion: Lesion, liver: Liver | None) -> Lesion:
    if liver is None or liver.suv_mean <= 0:
        return lesion
    return replace(
        lesion,
        liver_ratio_max=lesion.suv_max / liver.suv_mean,
        liver_ratio_mean=lesion.suv_mean / liver.suv_mean,
    )


def _program() -> str:
    # By name: the package itself offers the pipeline, which is above the report.
    return f"{PROGRAM} {import_module('swfastedit_core').__version__}"
