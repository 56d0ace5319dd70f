"""report.html: a report as one page, without network or libraries."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from swfastedit_core.errors import UserError
from swfastedit_core.report.page.columns import (
    lesion_columns,
    number_text,
    point_text,
    time_text,
    total_figures,
    volume_text,
)
from swfastedit_core.report.page.templates import render
from swfastedit_core.report.pictures.display import Display
from swfastedit_core.report.pictures.rotation import best_views, encode_rotation, rotate
from swfastedit_core.report.pictures.slices import encode_slices
from swfastedit_core.report.pictures.sprites import data_url
from swfastedit_core.report.record import Lesion, Report
from swfastedit_core.system.atomic import replacing

PACKAGE, TEMPLATE = "swfastedit_core.report.page", "report.html.jinja"
LIVER_RADIUS_MM = 15.0
MAX_ROWS = 1000  # of the table: browsers get slow, and nobody reads more


def write_page(report: Report, display: Display, picture: Image.Image, path: Path, *, viewer: Markup | None) -> None:
    """Write the page of a report; the file is complete or unchanged.

    Parameters
    ----------
    report
        The figures; its lesions are the numbers in the display.
    display
        The scan.
    picture
        From `draw_mip`, for print and for browsers without scripts.
    path
        The file.
    viewer
        From `viewer_section`; None: the page has no viewer.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    page = make_page(report, display, picture, viewer=viewer)
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: the page cannot be written ({error})") from error


def make_page(report: Report, display: Display, picture: Image.Image, *, viewer: Markup | None) -> str:
    """Return the page of a report; parameters as those of `write_page`."""
    shown = report.lesions[:MAX_ROWS]
    return render(
        PACKAGE,
        TEMPLATE,
        report=report,
        totals=total_figures(report.totals),
        columns=lesion_columns(report),
        lesions=shown,
        suv_window=[f"{suv:.4g}" for suv in display.suv_window],
        tilt=display.tilt_text(),
        spacing=" × ".join(f"{mm:.4g}" for mm in report.spacing_mm),
        size=" × ".join(map(str, report.size_xyz)),
        created=time_text(report.created),
        demonstration=any(terms.demonstration for terms in report.weights),
        picture=_as_jpeg(picture),
        picture_size=picture.size,
        data=page_data(report, display),
        viewer=viewer,
        number_text=number_text,
        point_text=point_text,
        file_name=lambda path: Path(path).name,  # the page is passed on, and folders may have names of patients
    )


def page_data(report: Report, display: Display) -> dict[str, Any]:
    """Return what the script of the page draws: the projections, the slices, and where the lesions are in both."""
    shown = report.lesions[:MAX_ROWS]
    points = display.positions(lesion.centroid_xyz for lesion in shown)
    liver = display.patient_positions([report.liver.centre_mm] if report.liver else [])
    points = np.concatenate([points, liver])
    rotation = rotate(display, points)
    slices, factor = encode_slices(display)
    places = [
        {
            "up": round(up, 2),
            "back": round(back, 2),
            "left": round(left, 2),
            "view": view,
            "slice": min(max(round(along), 0), slices["count"] - 1),
            "height": round(along, 2),
            "row": round((row + 0.5) / factor, 2),
            "column": round((column + 0.5) / factor, 2),
        }
        for (up, back, left), view, (along, row, column) in zip(
            rotation.positions_mm.tolist(), best_views(rotation.positions_mm), points.tolist(), strict=True
        )
    ]
    lesions = [
        {"number": lesion.number, "text": _lesion_text(lesion), **place}
        for lesion, place in zip(shown, places, strict=False)
    ]
    reference = {"radius_mm": LIVER_RADIUS_MM, **places[-1]} if report.liver else None
    return {"mip": encode_rotation(rotation), "slices": slices, "lesions": lesions, "liver": reference}


def _lesion_text(lesion: Lesion) -> str:
    return f"{volume_text(lesion.volume_ml)} ml, SUVmax {lesion.suv_max:.2f}, SUVpeak {lesion.suv_peak:.2f}"


def _as_jpeg(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85, subsampling=0, optimize=True)
    return data_url(stream.getvalue(), "image/jpeg")
