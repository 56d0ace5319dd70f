"""Clicks: points that an annotator marks as tumour or as background, and their JSON."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.volume import Geometry

FILE_TYPE = "Multiple points"  # of a click file, as grand-challenge.org names it
FILE_VERSION = {"major": 1, "minor": 0}
MAX_POINTS = 20_000  # a scribble has some hundred
MAX_FILE_BYTES = 2**24
MAX_INDEX = 2**31
SHOWN = 60  # characters of a value that a message shows

Space = Literal["voxel", "patient"]


class ClickKind(Enum):
    """What a click marks. The value is its name in click files."""

    TUMOUR = "tumor"
    BACKGROUND = "background"


@dataclass(frozen=True)
class Click:
    """A point that is marked as tumour or as background.

    Attributes
    ----------
    kind
        What is marked.
    position
        Voxel index x, y, z of the PET's file (whole numbers), or patient coordinates L, P, S in mm.
    space
        ``voxel`` or ``patient``: which of the two the position is.

    Raises
    ------
    UserError
        If it is not a kind, three numbers and a space.
    """

    kind: ClickKind
    position: tuple[float, float, float]
    space: Space = "voxel"

    def __post_init__(self) -> None:
        if not isinstance(self.kind, ClickKind):
            raise UserError(f"click of kind {_short(self.kind)}, expected ClickKind.TUMOUR or ClickKind.BACKGROUND")
        if len(self.position) != 3:
            raise UserError(f"click at {_short(self.position)}, expected three numbers")
        if self.space not in get_args(Space):
            raise UserError(f"click in the space {_short(self.space)}, expected 'voxel' or 'patient'")


FileVoxels = dict[ClickKind, np.ndarray]


def file_voxels(clicks: Iterable[Click], geometry: Geometry) -> FileVoxels:
    """Return the voxels of the file that the clicks mark. Equal clicks count once.

    A click in patient coordinates marks the voxel whose centre is nearest.

    Parameters
    ----------
    clicks
        In any order.
    geometry
        Grid of the PET's file.

    Returns
    -------
    dict
        For each kind, voxel indices x, y, z, int64 [N, 3], in the order of the clicks; N may be 0.

    Raises
    ------
    UserError
        If a click lies outside the scan.
    """
    voxels: dict[ClickKind, dict[tuple[int, int, int], None]] = {kind: {} for kind in ClickKind}
    to_index = np.linalg.inv(geometry.axes_lps * geometry.spacing_mm)
    for click in clicks:
        position = np.array(click.position, np.float64)
        with np.errstate(invalid="ignore"):  # infinite positions are reported below
            index = position if click.space == "voxel" else to_index @ (position - geometry.origin_mm)
        nearest = np.floor(index + 0.5)
        if not (np.isfinite(nearest).all() and (nearest >= 0).all() and (nearest < geometry.size_xyz).all()):
            raise UserError(f"{_describe(click)} lies outside the scan, which has {_sides(geometry)} voxels")
        x, y, z = (int(side) for side in nearest)
        voxels[click.kind][x, y, z] = None
    return {kind: np.array(list(found), np.int64).reshape(-1, 3) for kind, found in voxels.items()}


def read_clicks(path: Path) -> tuple[Click, ...]:
    """Read a click file, ``lesion-clicks.json`` of the autoPET challenges.

    Raises
    ------
    UserError
        If the file cannot be read, or is not a click file.
    """
    return parse_clicks(read_content(path), source=str(path))


def read_content(path: Path) -> bytes:
    """Read a click file, and at most a byte more than it may have.

    Raises
    ------
    UserError
        If it cannot be read, or is no file: a pipe cannot be read twice.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path}: is not a file, expected a file of clicks")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a file of clicks") from error


def load_json(content: str | bytes) -> Any:
    """Read JSON, of which no object has a key twice: `json` would leave out the first value without a word.

    Raises
    ------
    ValueError, RecursionError
        If it is something else.
    """
    return json.loads(content, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{_short(twice)} is there twice")
    return plain


def parse_clicks(content: str | bytes, *, source: str) -> tuple[Click, ...]:
    """Read clicks from ``{"version": …, "type": "Multiple points", "points": [{"point": [x, y, z], "name": …}, …]}``.

    Points are voxel indices x, y, z of the PET's file; the name is ``tumor`` or ``background``. There may be none.

    Parameters
    ----------
    content
        The JSON.
    source
        Name of the file, for messages.

    Raises
    ------
    UserError
        If it is something else.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{source}: is larger than {MAX_FILE_BYTES // 2**20} MB, expected a file of clicks")
    try:
        plain = load_json(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: is not JSON ({error}), expected a file of clicks") from error
    if not isinstance(plain, dict):
        raise UserError(f"{source}: holds {_short(plain)}, expected an object with version, type and points")
    _check_head(plain, source)
    points = plain.get("points")
    if not isinstance(points, list):
        raise UserError(f"{source}: has no list of points")
    if len(points) > MAX_POINTS:
        raise UserError(f"{source}: has {len(points)} points, expected {MAX_POINTS} at most")
    return tuple(_click(point, f"{source}: point {number}") for number, point in enumerate(points, 1))


def clicks_to_json(voxels: FileVoxels) -> str:
    """Return the content of a click file.

    Parameters
    ----------
    voxels
        From `file_voxels`.
    """
    points = [
        {"point": [int(side) for side in voxel], "name": kind.value}
        for kind, of_kind in voxels.items()
        for voxel in of_kind
    ]
    return json.dumps({"version": FILE_VERSION, "type": FILE_TYPE, "points": points})


def _check_head(plain: dict[str, Any], source: str) -> None:
    version = plain.get("version")
    if not isinstance(version, dict) or version.get("major") != FILE_VERSION["major"]:
        raise UserError(f"{source}: version {_short(version)}, expected {json.dumps(FILE_VERSION)}")
    if plain.get("type") != FILE_TYPE:
        raise UserError(f"{source}: type {_short(plain.get('type'))}, expected {FILE_TYPE!r}")


def _click(plain: Any, where: str) -> Click:
    if not isinstance(plain, dict):
        raise UserError(f"{where} is {_short(plain)}, expected an object with point and name")
    name, point = plain.get("name"), plain.get("point")
    if name not in [kind.value for kind in ClickKind]:  # a list: the value may be of any type
        raise UserError(f"{where} has the name {_short(name)}, expected 'tumor' or 'background'")
    if not isinstance(point, list) or len(point) != 3 or not all(type(side) is int for side in point):
        raise UserError(f"{where} lies at {_short(point)}, expected three whole numbers: the voxel x, y, z")
    if min(point) < 0 or max(point) >= MAX_INDEX:
        raise UserError(f"{where} lies at {_short(point)}, expected voxel indices of the scan, from 0 on")
    x, y, z = point
    return Click(ClickKind(name), (x, y, z))


def _short(value: object) -> str:
    """Return a value on one short line, however large or deep it is."""
    text = reprlib.repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _describe(click: Click) -> str:
    name, numbers = click.kind.name.lower(), ", ".join(map(str, click.position))
    if click.space == "voxel":
        return f"the {name} click at voxel ({numbers})"
    return f"the {name} click at L, P, S = ({numbers}) mm"


def _sides(geometry: Geometry) -> str:
    return " × ".join(map(str, geometry.size_xyz))
