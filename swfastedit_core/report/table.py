"""The figures of a report in files for programs: lesions.csv and report.json."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from swfastedit_core.box import Box
from swfastedit_core.errors import UserError
from swfastedit_core.report.record import Lesion, Report
from swfastedit_core.system.atomic import replacing

DIGITS = 7  # of the numbers in lesions.csv: small volumes in ml need digits, not decimals
DEFINITIONS = {
    "pet": "file of the scan",
    "lesion": "component of the mask; voxels that share a face or an edge belong together (18-connected)",
    "number": "by volume, 1 is the largest",
    "volume_ml": "number of voxels times the volume of a voxel (MTV)",
    "suv_max": "highest SUV of the voxels",
    "suv_mean": "mean SUV of the voxels",
    "suv_peak": "IBSI global intensity peak 0F91, 1 ml: the highest mean over a sphere of 1 ml whose centre is a voxel "
    "of the lesion; voxels count if their centre is in the sphere, also those outside of the lesion",
    "tlg_g": "total lesion glycolysis: suv_mean times volume_ml",
    "surface_mm2": "area of the triangle mesh (IBSI C0JK)",
    "sphericity": "surface of a sphere of the mesh's volume divided by surface_mm2 (IBSI QCFX)",
    "longest_diameter_mm": "longest distance of two corners of the mesh (IBSI L0JK)",
    "centroid": "mean of the voxel centres",
    "coordinates in mm": "patient coordinates: L (to the left), P (to the back), S (to the head), as in DICOM",
    "coordinates in voxels": "along x, y, z of the file, counted from 0",
    "box": "in mm: lowest and highest coordinates of the outer faces of the voxels; in voxels: first voxel, and the "
    "first one after the last",
    "liver_ratio": "SUV of the lesion divided by the mean SUV of the liver reference",
    "mtv_ml": "sum of the volumes of the lesions (tMTV); it depends on the method that made the mask",
    "dmax_centroids_mm": "longest distance of the centroids of two lesions; 0 for one lesion",
    "dmax_voxels_mm": "longest distance of the centres of two voxels of different lesions; for one lesion of two of "
    "its voxels",
    "sdmax": "Dmax in m divided by the body surface area in m2 (Du Bois)",
    "liver": "voxels whose centres lie in a sphere of 3 cm; in_range: mean SUV of 1.3 to 3.0 (EANM); percist_suv: 1.5 "
    "times the mean plus 2 standard deviations, of SUV by body weight (PERCIST: by lean body mass)",
    "use": "research use only; not for diagnosis",
}


def write_lesions_csv(report: Report, path: Path) -> None:
    """Write a row for each lesion, in the order of the numbers; without lesions the header only.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns())
    for lesion in report.lesions:
        writer.writerow([str(report.pet), *_row(lesion)])
    _write(stream.getvalue(), path)


def write_json(report: Report, path: Path) -> None:
    """Write all of a report, with the definitions of the figures; what is not known is null.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    values = {**_plain(asdict(report)), "definitions": DEFINITIONS}
    _write(json.dumps(values, indent=1, allow_nan=False) + "\n", path)


def columns() -> list[str]:
    """Return the header of lesions.csv."""
    names = ["pet"]  # so that the files of many scans can be joined
    for one in fields(Lesion):
        names += _PARTS.get(one.name, [one.name])
    return names


_PARTS = {
    "centroid_mm": [f"centroid_{axis}_mm" for axis in "lps"],
    "centroid_xyz": [f"centroid_{axis}_voxel" for axis in "xyz"],
    "box_mm": [f"box_{end}_{axis}_mm" for end in ("low", "high") for axis in "lps"],
    "box": [f"box_{end}_{axis}_voxel" for end in ("start", "stop") for axis in "xyz"],
}


def _row(lesion: Lesion) -> list[str]:
    cells: list[str] = []
    for one in fields(Lesion):
        cells += [_cell(value) for value in _flat(getattr(lesion, one.name))]
    return cells


def _flat(value: object) -> list[object]:
    if isinstance(value, Box):
        return [*value.start, *value.stop]
    if isinstance(value, tuple):
        return [part for item in value for part in _flat(item)]
    return [value]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(float(f"{value:.{DIGITS}g}") + 0.0 if isinstance(value, float) else value)  # + 0.0: no -0.0


def _plain(value: Any) -> Any:
    """Return values for JSON: paths as text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _write(text: str, path: Path) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names may be of any bytes
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
