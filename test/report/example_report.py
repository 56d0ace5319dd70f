"""A scan with lesions and its report, for tests of pictures and pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from swfastedit_core.box import Box, triple
from swfastedit_core.components import NEIGHBOURS
from swfastedit_core.report.page.report_page import make_page
from swfastedit_core.report.pictures.display import Display, make_display
from swfastedit_core.report.pictures.mip_picture import draw_mip
from swfastedit_core.report.record import Lesion, Liver, Report, Totals, WeightsTerms
from swfastedit_core.volume import Geometry, Volume


def number_by_size(mask: np.ndarray) -> np.ndarray:
    """Number the components of a mask, 1 = largest, int32 [Z, Y, X]."""
    numbers, count = ndimage.label(mask, NEIGHBOURS)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    order = np.zeros(count + 1, np.int32)
    order[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return order[numbers]


def lesions_of(pet: Volume, numbers_zyx: np.ndarray) -> tuple[Lesion, ...]:
    """Return figures of the lesions; surface and shape are those of a ball of the same volume."""
    geometry = pet.geometry
    found = []
    for number, where in enumerate(ndimage.find_objects(numbers_zyx), 1):
        inside = numbers_zyx[where] == number
        suv = pet.array_zyx[where][inside]
        index_xyz = np.argwhere(inside)[:, ::-1] + [part.start for part in reversed(where)]
        centre_xyz = index_xyz.mean(axis=0)
        box = Box(triple(index_xyz.min(axis=0).tolist()), triple((index_xyz.max(axis=0) + 1).tolist()))
        volume_ml = len(suv) * geometry.voxel_ml
        radius_mm = float(np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi)))
        faces_mm = (np.array([box.start, box.stop]) - 0.5) * geometry.spacing_mm @ geometry.axes_lps.T
        faces_mm = np.sort(faces_mm + geometry.origin_mm, axis=0)
        centre_mm = geometry.axes_lps @ (centre_xyz * geometry.spacing_mm) + geometry.origin_mm
        found.append(
            Lesion(
                number=number,
                voxels=len(suv),
                volume_ml=volume_ml,
                suv_max=float(suv.max()),
                suv_mean=float(suv.mean()),
                suv_peak=float(suv.mean()),
                tlg_g=float(suv.mean()) * volume_ml,
                surface_mm2=4 * np.pi * radius_mm**2,
                sphericity=0.8,
                longest_diameter_mm=2 * radius_mm,
                centroid_mm=tuple(centre_mm.tolist()),
                centroid_xyz=tuple(centre_xyz.tolist()),
                box_mm=(tuple(faces_mm[0].tolist()), tuple(faces_mm[1].tolist())),
                box=box,
                liver_ratio_max=float(suv.max()) / 2.1,
                liver_ratio_mean=float(suv.mean()) / 2.1,
            )
        )
    return tuple(found)


def example_report(scan: Volume, numbers_zyx: np.ndarray, **changes: object) -> Report:
    """Return a report on a scan; `changes` replace its fields."""
    lesions = lesions_of(scan, numbers_zyx)
    some = bool(lesions)
    totals = Totals(
        lesions=len(lesions),
        mtv_ml=sum(lesion.volume_ml for lesion in lesions),
        tlg_g=sum(lesion.tlg_g for lesion in lesions),
        suv_max=max((lesion.suv_max for lesion in lesions), default=None),
        dmax_centroids_mm=412.5 if some else None,
        dmax_voxels_mm=455.1 if some else None,
        sdmax_centroids_per_m=0.217 if some else None,
        sdmax_voxels_per_m=0.240 if some else None,
    )
    liver = Liver(
        centre_mm=(-71.0, -12.0, -640.0),
        guessed=True,
        voxels=1134,
        suv_mean=2.10,
        suv_sd=0.21,
        in_range=True,
        percist_suv=3.57,
    )
    report = Report(
        pet=Path("patient_12.mha"),
        mask=Path("patient_12_mask.mha"),
        method="neural networks (1 of demo.safetensors), probability at least 0.5",
        size_xyz=scan.geometry.size_xyz,
        spacing_mm=scan.geometry.spacing_mm,
        lesions=lesions,
        totals=totals,
        liver=liver,
        liver_note="its place was found by the program: check it",
        body_surface_m2=1.9,
        weights=(
            WeightsTerms(
                source="demo.safetensors",
                licence="CC BY 3.0",
                attribution="trained on public scans",
                demonstration=True,
            ),
        ),
        processing={"engine": "OpenVINO", "device": "CPU", "windows": "48", "time": "31 s"},
        warnings=("the weights are a demonstration, trained on few scans",),
        program="swfastedit 0.1.0",
        created="2026-11-30T05:00:00+00:00",
    )
    return replace(report, **changes)


def display_of(pet: Volume, numbers_zyx: np.ndarray, suv_window: tuple[float, float] = (0.0, 10.0)) -> Display:
    """Return what a report shows of a scan."""
    boxes = [lesion.box for lesion in lesions_of(pet, numbers_zyx)]
    return make_display(pet, numbers_zyx, boxes, suv_window=suv_window)


def page_of(
    report: Report, pet: Volume, numbers_zyx: np.ndarray, *, suv_window: tuple[float, float] = (0.0, 10.0)
) -> str:
    """Return the page of a report."""
    display = display_of(pet, numbers_zyx, suv_window)
    return make_page(report, display, draw_mip(report, display), viewer=None)


def scan_with_balls(
    *balls: tuple[float, float, float, float], shape_zyx: tuple[int, int, int] = (60, 40, 50), suv: float = 8.0
) -> tuple[Volume, np.ndarray]:
    """Return a scan of 4 × 4 × 5 mm with a warm trunk and hot balls (z, y, x, radius in voxels), and their numbers."""
    z, y, x = np.ogrid[: shape_zyx[0], : shape_zyx[1], : shape_zyx[2]]
    middle_y, middle_x = shape_zyx[1] / 2 - 0.5, shape_zyx[2] / 2 - 0.5
    trunk = ((y - middle_y) / (0.35 * shape_zyx[1])) ** 2 + ((x - middle_x) / (0.4 * shape_zyx[2])) ** 2 <= 1
    array = np.broadcast_to(trunk, shape_zyx).astype(np.float32)
    mask = np.zeros(shape_zyx, bool)
    for z0, y0, x0, radius in balls:
        mask |= (z - z0) ** 2 + (y - y0) ** 2 + (x - x0) ** 2 <= radius**2
    array[mask] = suv
    geometry = Geometry(shape_zyx[::-1], (4.0, 4.0, 5.0), origin_mm=(-100.0, -80.0, -900.0))
    return Volume(array, geometry), number_by_size(mask)


def wait_until_drawn(page):
    """Wait until the pictures are drawn."""
    for name in ("mip", "slice"):
        page.wait_for_selector(f"#{name}[data-ready]")
    return page
