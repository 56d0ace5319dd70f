"""Figures as text for a page, and the columns of its lesion table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from swfastedit_core.report.record import Lesion, Point, Report, Totals

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column of the lesion table.

    Attributes
    ----------
    heading, unit
        Of the column; the unit is empty for a ratio.
    explanation
        What the figure is, in a few words.
    text
        A lesion's figure as text.
    value
        A lesion's figure to sort by.
    """

    heading: str
    unit: str
    explanation: str
    text: Callable[[Lesion], str]
    value: Callable[[Lesion], float | None]


@dataclass(frozen=True)
class Figure:
    """A figure of the patient as text, with its unit and what it is."""

    name: str
    text: str
    unit: str
    explanation: str = ""


def number_text(value: float | None, digits: int) -> str:
    """Return a figure with a fixed number of digits; a dash for None."""
    return MISSING if value is None else f"{value:.{digits}f}"


def volume_text(ml: float | None) -> str:
    """Return a volume or TLG: more digits where it is small, none for 0."""
    if ml is None:
        return MISSING
    if ml == 0:
        return "0"
    return f"{ml:.1f}" if ml >= 10 else f"{ml:.2f}"


def point_text(point: Point) -> str:
    """Return patient coordinates with letters for the sides, such as 12 L, 30 P, 450 S; without a minus sign."""
    letters = (("R", "L"), ("A", "P"), ("I", "S"))
    return ", ".join(f"{abs(value):.0f} {pair[value >= 0]}" for value, pair in zip(point, letters, strict=True))


def time_text(created: str) -> str:
    """Return an ISO 8601 time for people, such as 30 November 2026, 05:00 UTC; other texts as they are."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{time.day} {time:%B %Y, %H:%M} {time.tzname() or ''}".strip()


def lesion_columns(report: Report) -> list[Column]:
    """Return the columns of the lesion table; the ratios to the liver only where there is a reference."""

    def column(
        heading: str, unit: str, explanation: str, digits: int, value: Callable[[Lesion], float | None]
    ) -> Column:
        return Column(heading, unit, explanation, lambda lesion: number_text(value(lesion), digits), value)

    columns = [
        Column("MTV", "ml", "volume of the voxels", lambda x: volume_text(x.volume_ml), lambda x: x.volume_ml),
        column("SUVmax", "", "highest SUV", 2, lambda x: x.suv_max),
        column("SUVmean", "", "mean SUV", 2, lambda x: x.suv_mean),
        column(
            "SUVpeak", "", "highest mean over a sphere of 1 ml: IBSI global intensity peak", 2, lambda x: x.suv_peak
        ),
        Column("TLG", "g", "SUVmean times MTV", lambda x: volume_text(x.tlg_g), lambda x: x.tlg_g),
        column("Surface", "mm²", "of the mesh", 0, lambda x: x.surface_mm2),
        column("Sphericity", "", "1 for a ball", 2, lambda x: x.sphericity),
        column("Longest diameter", "mm", "of the mesh", 1, lambda x: x.longest_diameter_mm),
        Column(
            "Centroid",
            "mm",
            "patient coordinates, sorted from the head",
            lambda x: point_text(x.centroid_mm),
            lambda x: x.centroid_mm[2],
        ),
    ]
    if report.liver is not None:
        liver = "liver (guess)" if report.liver.guessed else "liver"
        ratio = "ratio to the SUVmean of the liver reference"
        columns.append(column(f"SUVmax / {liver}", "", ratio, 2, lambda x: x.liver_ratio_max))
        columns.append(column(f"SUVmean / {liver}", "", ratio, 2, lambda x: x.liver_ratio_mean))
    return columns


def total_figures(totals: Totals) -> list[Figure]:
    """Return the figures of the patient; SDmax only where it is known."""
    figures = [
        Figure("Lesions", str(totals.lesions), ""),
        Figure("tMTV", volume_text(totals.mtv_ml), "ml", "total metabolic tumour volume"),
        Figure("TLG", volume_text(totals.tlg_g), "g", "total lesion glycolysis"),
        Figure("SUVmax", number_text(totals.suv_max, 2), "", "highest of all lesions"),
        Figure("Dmax, centroids", number_text(totals.dmax_centroids_mm, 0), "mm", "longest distance of two centroids"),
        Figure(
            "Dmax, voxels",
            number_text(totals.dmax_voxels_mm, 0),
            "mm",
            "length of the lesion" if totals.lesions == 1 else "longest distance of voxels of two lesions",
        ),
    ]
    standardised = {"centroids": totals.sdmax_centroids_per_m, "voxels": totals.sdmax_voxels_per_m}
    for name, value in standardised.items():
        if value is not None:
            figures.append(Figure(f"SDmax, {name}", number_text(value, 3), "m/m²", "Dmax by body surface area"))
    return figures
