"""NRRD (.nrrd): a text header up to a blank line, then the data.

Fields as in the format's definition (https://teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.header import ImageHeader, check_geometry, not_one_number, three_sizes
from swfastedit_core.files.text_header import read_text_header
from swfastedit_core.files.voxels import GZIP, VoxelData
from swfastedit_core.volume import Geometry

MAGIC = b"NRRD000"
PROGRAM = "CreatedBy"
UNITS_MM = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "cm": 10.0,
            "m": 1000.0, "meter": 1000.0, "metre": 1000.0}  # fmt: skip
NO_UNIT = ("", "???", "none")
# Second spellings of fields.
SAME_FIELD = {
    "spaceorigin": "space origin", "spacedirections": "space directions", "spaceunits": "space units",
    "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "axismins": "axis mins",
    "axis maxs": "axis mins", "axismaxs": "axis mins",
}  # fmt: skip
# Signs that bring a space's axes to left, posterior, superior; further axes, such as time, have length one.
TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
SPELLINGS = {
    "i1": "signed char|int8|int8_t", "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t", "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float", "f8": "double",
}  # fmt: skip
DTYPES = {name: dtype for dtype, names in SPELLINGS.items() for name in names.split("|")}


def read_header(path: Path) -> ImageHeader:
    """Read and check the header.

    Raises
    ------
    UserError
        If a field is missing or has an impossible value, or the voxels are not raw or gzip, in this file and single
        numbers.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{path}: the header cannot be read as an image (it does not begin with NRRD)")
        file.seek(0)
        read, offset = read_text_header(file, path, separator=":", last="", comment="#"), file.tell()
    fields = {SAME_FIELD.get(name, name): value for name, value in read.items()}
    size = _sizes(path, fields)
    sizes = three_sizes(path, size)
    mm, unit, odd_units = _unit(path, fields)
    geometry, odd_axes = _geometry(path, fields, sizes, len(size), mm=mm, unit=unit)
    check_geometry(path, geometry)
    data = _voxel_data(path, fields, offset, sizes)
    program = fields.get(PROGRAM.lower(), "").removeprefix("=")  # a key of the writer's own: "CreatedBy:=name"
    return ImageHeader(geometry, data, program, odd_units + odd_axes)


def _sizes(path: Path, fields: dict[str, str]) -> list[int]:
    rank, sizes = fields.get("dimension", ""), fields.get("sizes", "").split()
    if not rank.isdigit() or len(sizes) != int(rank) or not all(size.isascii() and size.isdigit() for size in sizes):
        raise UserError(
            f"{path}: the header says dimension: {rank or 'nothing'} and sizes: {' '.join(sizes) or 'nothing'}, "
            "expected 3 and three positive numbers"
        )
    return [int(size) for size in sizes]


def _geometry(
    path: Path, fields: dict[str, str], sizes: tuple[int, int, int], rank: int, *, mm: float, unit: str
) -> tuple[Geometry, tuple[str, ...]]:
    """Return the grid in LPS, and what is odd about its axes."""
    if "space directions" not in fields:
        if "spacings" not in fields:
            raise UserError(f"{path}: the header gives no voxel spacing (spacings or space directions)")
        given = fields["spacings"].split()
        spacing = [_number(text) for text in given]
        if len(spacing) != rank or not all(0 < value < math.inf for value in spacing[:3]):
            raise UserError(f"{path}: the header says spacings: {' '.join(given)}, expected three positive numbers")
        if "axis mins" in fields:
            raise UserError(f"{path}: the header says axis mins, expected space directions and space origin")
        grid = Geometry(sizes, (spacing[0] * mm, spacing[1] * mm, spacing[2] * mm), unit=unit)
        return grid, (
            f"{path}: the header gives no patient axes (space directions); x, y, z of the array are taken for left, "
            "posterior, superior",
        )
    vectors = _vectors(path, fields, "space directions", rank)[:3]
    origin = _vectors(path, fields, "space origin", 1)[0] if "space origin" in fields else (0.0, 0.0, 0.0)
    space = fields.get("space", "").lower().removesuffix("-time")
    space = space[:3] if space in ("rast", "last", "lpst") else space
    odd: tuple[str, ...] = ()
    if space not in TO_LPS:
        odd = (
            f"{path}: the header says space: {fields.get('space') or 'nothing'}, which names no patient axes; its "
            "coordinates are taken for left, posterior, superior",
        )
    signs = np.array(TO_LPS.get(space, (1, 1, 1)), float)
    columns = np.array(vectors).T * signs[:, None]
    spacing_mm = np.linalg.norm(columns, axis=0)
    if not spacing_mm.all():
        raise UserError(f"{path}: the header says space directions: {fields['space directions']}, one of length 0")
    x, y, z = (spacing_mm * mm).tolist()
    left, posterior, superior = (np.array(origin) * signs * mm + 0.0).tolist()
    direction = tuple(float(cosine) for cosine in (columns / spacing_mm).ravel() + 0.0)
    return Geometry(sizes, (x, y, z), (left, posterior, superior), direction, unit=unit), odd


def _vectors(path: Path, fields: dict[str, str], name: str, count: int) -> list[tuple[float, ...]]:
    """Return vectors of three finite numbers, as ``(1,0,0) (0,1,0)``; axes beyond the third may have ``none``."""
    items = re.findall(r"\([^()]*\)|\S+", fields[name])
    vectors = [tuple(_number(text) for text in item.strip("()").split(",")) for item in items[:3]]
    numbers = {len(vector) for vector in vectors}
    vectors = [vector[:3] for vector in vectors]
    if len(items) != count or len(numbers) > 1 or min(numbers, default=0) < 3 or not np.isfinite(vectors).all():
        expected = f"{min(count, 3)} vector{'s' * (count > 1)} of three finite numbers"
        raise UserError(f"{path}: the header says {name}: {fields[name] or 'nothing'}, expected {expected}")
    return vectors


def unit_line(unit: str) -> tuple[float, bytes, bytes]:
    """Return a unit in mm, the line of the header that names it, and the line before which it stands."""
    return UNITS_MM.get(unit.lower(), 1.0), f'space units: "{unit}" "{unit}" "{unit}"\n'.encode(), b"\n"


def _unit(path: Path, fields: dict[str, str]) -> tuple[float, str, tuple[str, ...]]:
    """Return the length unit in mm, its spelling, and a warning about an unknown one."""
    name = "space units" if "space units" in fields else "units"
    text = fields.get(name, "")
    found = [unit.strip() for unit in (re.findall(r'"([^"]*)"', text) or text.split())][:3]
    units = {unit for unit in found if unit.lower() not in NO_UNIT}
    if not units:
        return 1.0, "mm", ()
    known = {UNITS_MM.get(unit.lower()) for unit in units}
    if len(known) > 1:
        raise UserError(f"{path}: the header says {name}: {fields[name]}, expected the same unit for all axes")
    mm, unit = known.pop(), sorted(units)[0]
    if mm is None:
        return (
            1.0,
            unit,
            (f"{path}: the header says {name}: {fields[name]}, which is unknown; lengths are taken as mm",),
        )
    return mm, unit, ()


def _voxel_data(path: Path, fields: dict[str, str], offset: int, sizes: tuple[int, int, int]) -> VoxelData:
    if "data file" in fields:
        raise UserError(f"{path}: its voxels lie in another file; expected one self-contained .nrrd")
    for name in ("line skip", "byte skip"):
        if fields.get(name, "0") != "0":
            raise UserError(f"{path}: the header says {name}: {fields[name]}, expected none; write it anew")
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in DTYPES:
        raise not_one_number(path, f"'{kind or 'nothing'}'")
    if encoding not in ("raw", "gzip", "gz"):
        raise UserError(f"{path}: the header says encoding: {encoding or 'nothing'}, expected raw or gzip")
    dtype, endian = np.dtype(DTYPES[kind]), fields.get("endian", "").lower()
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise UserError(f"{path}: the header says endian: {endian or 'nothing'}, expected little or big")
    stream = None if encoding == "raw" else GZIP
    shape = (sizes[2], sizes[1], sizes[0])
    return VoxelData(shape, dtype.newbyteorder(">" if endian == "big" else "<"), offset, stream)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
