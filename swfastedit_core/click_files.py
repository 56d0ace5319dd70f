"""Click files that annotators have: of the challenges, of 3D Slicer, and of the method's original plug-in.

- The challenges' file: see `clicks.parse_clicks`.
- A markups file of 3D Slicer (``.mrk.json``): point lists in patient coordinates. Slicer writes a file for each list.
  Its schema is
  https://github.com/Slicer/Slicer/blob/main/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json.
- The plug-in's file: ``{"tumor": [[i, j, k], …], "background": [[i, j, k], …]}``, voxel indices x, y, z of the scan.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from swfastedit_core.clicks import (
    MAX_FILE_BYTES,
    MAX_INDEX,
    MAX_POINTS,
    Click,
    ClickKind,
    file_voxels,
    load_json,
    parse_clicks,
    read_content,
)
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.volume import Geometry

KINDS = {
    "tumor": ClickKind.TUMOUR,
    "tumour": ClickKind.TUMOUR,
    "lesion": ClickKind.TUMOUR,
    "background": ClickKind.BACKGROUND,
}
WORDS = "tumor, tumour, lesion or background"
# Slicer names a file after its list, and a second list of the same name tumor_1.
FILE_OF_ONE_KIND = re.compile(r"(tumor|tumour|lesion|background)s?([ _-]?\d+)?(\.mrk)?\.json")
PLUG_IN = {kind.value for kind in ClickKind}
TO_LPS = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0)}
MAX_MM = 1e6  # of a coordinate; also refuses NaN
PLACED = "defined"  # status of a point that has a position


def read_click_file(path: Path) -> tuple[Click, ...]:
    """Read a click file of any kind.

    Raises
    ------
    UserError
        If the file cannot be read, is no click file, or can be understood in two ways.
    """
    return parse_click_file(read_content(path), path)


def read_clicks_inside(files: Sequence[Path], grid: Geometry) -> tuple[Click, ...]:
    """Read click files, and check that each click lies inside the scan.

    Parameters
    ----------
    files
        Their clicks are taken together.
    grid
        Of the scan.

    Raises
    ------
    UserError
        If a file is no click file, or a click lies outside the scan.
    """
    found: list[Click] = []
    for file in files:
        clicks = read_click_file(file)
        try:
            file_voxels(clicks, grid)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        found += clicks
    return tuple(found)


def warn_of_contradictions(clicks: Sequence[Click], grid: Geometry) -> None:
    """Warn of voxels that are marked as tumour and as background. Both count: each channel has its click.

    Parameters
    ----------
    clicks
        Inside the scan.
    grid
        Of the scan.
    """
    tumour, background = ({*map(tuple, voxels.tolist())} for voxels in file_voxels(clicks, grid).values())
    if both := sorted(tumour & background):
        warnings.warn(
            DataWarning(f"{len(both)} voxels are clicked as tumour and as background, the first one is {both[0]}"),
            stacklevel=2,
        )


def parse_click_file(content: bytes, path: Path) -> tuple[Click, ...]:
    """Read clicks from the content of a file.

    Parameters
    ----------
    content
        The JSON.
    path
        The file, for messages. Its name tells the kind of clicks if nothing in a markups file does.

    Raises
    ------
    UserError
        As `read_click_file`.
    """
    plain = _json(content)
    if not isinstance(plain, dict) or len(content) > MAX_FILE_BYTES:
        return parse_clicks(content, source=str(path))  # says what is wrong
    kinds = {
        "points": "points" in plain,
        "markups": "markups" in plain,
        "tumor or background": bool(PLUG_IN & {*plain}),
    }
    found = [name for name, there in kinds.items() if there]
    if len(found) > 1:
        raise UserError(f"{path}: has {' and '.join(found)}, which are two kinds of click files, expected one")
    if found == ["markups"]:
        return _limited(path, _clicks_of_markups(plain["markups"], path))
    if found == ["tumor or background"]:
        return _limited(path, _clicks_of_plug_in(plain, path))
    if not found and "type" not in plain and "version" not in plain:
        raise UserError(
            f"{path}: has {short(sorted(plain))}, expected points (of the challenges), markups (of 3D Slicer), or "
            "tumor and background (voxels)"
        )
    return parse_clicks(content, source=str(path))


def _json(content: bytes) -> Any:
    try:
        return load_json(content)
    except (ValueError, RecursionError):
        return None


def _limited(path: Path, clicks: Iterator[Click]) -> tuple[Click, ...]:
    found = tuple(clicks)
    if len(found) > MAX_POINTS:
        raise UserError(f"{path}: has {len(found)} points, expected {MAX_POINTS} at most")
    return found


def _clicks_of_plug_in(plain: dict[str, Any], path: Path) -> Iterator[Click]:
    if others := {*plain} - PLUG_IN:
        raise UserError(f"{path}: has {short(sorted(others))} beside tumor and background, expected only these two")
    for kind in ClickKind:
        voxels = plain.get(kind.value, [])
        if not isinstance(voxels, list):
            raise UserError(f"{path}: {kind.value} is {short(voxels)}, expected a list of voxels")
        for number, voxel in enumerate(voxels, 1):
            if not isinstance(voxel, list) or len(voxel) != 3 or not all(map(_is_index, voxel)):
                raise UserError(
                    f"{path}: {kind.value} {number} is {short(voxel)}, expected the voxel x, y, z: three whole numbers "
                    "of 0 or more"
                )
            x, y, z = voxel
            yield Click(kind, (x, y, z))


def _is_index(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_INDEX


def _clicks_of_markups(markups: Any, path: Path) -> Iterator[Click]:
    if not isinstance(markups, list) or not all(isinstance(one, dict) for one in markups):
        raise UserError(f"{path}: markups is {short(markups)}, expected a list of objects")
    for number, markup in enumerate(markups, 1):
        where = f"{path}: list {number}" if len(markups) > 1 else f"{path}:"
        yield from _clicks_of_list(markup, where, path)


def _clicks_of_list(markup: dict[str, Any], where: str, path: Path) -> Iterator[Click]:
    if markup.get("type") != "Fiducial":
        raise UserError(f"{where} has the type {short(markup.get('type'))}, expected 'Fiducial', a list of points")
    system, units = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")  # Slicer's defaults
    if not isinstance(system, str) or system not in TO_LPS:
        raise UserError(f"{where} has the coordinate system {short(system)}, expected 'LPS' or 'RAS'")
    if (units[0] if isinstance(units, list) and units else units) != "mm":
        raise UserError(f"{where} has coordinates in {short(units)}, expected 'mm'")
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise UserError(f"{where} has controlPoints {short(points)}, expected a list of objects")
    for number, point in enumerate(points, 1):
        if point.get("positionStatus", PLACED) == PLACED:
            at = f"{where} point {number}"
            kind = _kind(point.get("label", ""), markup.get("name", ""), at, path)
            yield Click(kind, _position(point.get("position"), at, TO_LPS[system]), "patient")


def _kind(label: Any, name: Any, where: str, path: Path) -> ClickKind:
    """Return the kind that label and list name tell; if neither does, the file's name."""
    told = {
        kind for text in (label, name) for word, kind in KINDS.items() if str(text).strip().lower().startswith(word)
    }
    if not told and (of_file := FILE_OF_ONE_KIND.fullmatch(path.name.lower())):
        told = {KINDS[of_file[1]]}
    if len(told) != 1:
        names = f"has the label {short(label)}, in a list named {short(name)}"
        raise UserError(f"{where} {names}; expected one of them, and not both kinds, to begin with {WORDS}")
    return told.pop()


def _position(position: Any, where: str, to_lps: tuple[float, float, float]) -> tuple[float, float, float]:
    right = isinstance(position, list) and len(position) == 3 and all(type(side) in (int, float) for side in position)
    if not right or not all(abs(side) < MAX_MM for side in position):
        raise UserError(f"{where} lies at {short(position)}, expected three numbers, in mm")
    x, y, z = (sign * side for sign, side in zip(to_lps, position, strict=True))
    return x, y, z
