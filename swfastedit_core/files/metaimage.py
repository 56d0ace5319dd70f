"""MetaImage (.mha): a text header whose last line is ElementDataFile, then raw data or one compressed stream.

Fields as in MetaIO's documentation (https://itk.org/Wiki/ITK/MetaIO/Documentation).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.header import ImageHeader, check_geometry, not_one_number, three_sizes
from swfastedit_core.files.text_header import read_text_header
from swfastedit_core.files.voxels import ZLIB_OR_GZIP, VoxelData
from swfastedit_core.volume import Geometry

MAX_RANK = 10  # MetaIO's limit
TRUE = ("t", "T", "1")  # how MetaIO recognises true
# Fields with numbers, by all their names; the first of them that is given counts.
SPACING = ("elementspacing", "elementsize")
ORIGIN = ("offset", "position", "origin")
MATRIX = ("transformmatrix", "rotation", "orientation")
SLOPE, INTERCEPT = "elementtointensityfunctionslope", "elementtointensityfunctionoffset"
UNITS_MM = {"mm": 1.0, "um": 1e-3, "cm": 10.0}
PROGRAM = "CreatedBy"
# The element types, with MetaIO's sizes (metaTypes.h).
DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip


def read_header(path: Path) -> ImageHeader:
    """Read and check the header.

    Raises
    ------
    UserError
        If a field is missing or has an impossible value, or the voxels are not binary, in this file and single numbers.
    """
    with path.open("rb") as file:
        fields, offset = read_text_header(file, path, separator="[=:]", last="elementdatafile"), file.tell()
    size = _size(path, fields)
    sizes = three_sizes(path, size)
    rank = len(size)
    given_spacing = _numbers(path, fields, SPACING, rank, positive=True)
    if given_spacing is None:
        raise UserError(f"{path}: the header gives no voxel spacing (ElementSpacing)")
    origin = _numbers(path, fields, ORIGIN, rank) or (0.0,) * rank
    matrix = np.reshape(_numbers(path, fields, MATRIX, rank**2) or np.eye(rank), (rank, rank))
    unit = fields.get("distanceunits", "")
    mm, odd_units = _unit_mm(path, unit)
    geometry = Geometry(
        sizes,
        _three(given_spacing, mm),
        _three(origin, mm),
        tuple(float(cosine) for cosine in matrix[:3, :3].T.ravel()),  # in the file, row i is the direction of axis i
        unit=unit or "mm",
    )
    check_geometry(path, geometry)
    data, odd_values = _voxel_data(path, fields, offset, sizes)
    return ImageHeader(geometry, data, fields.get(PROGRAM.lower(), ""), odd_units + odd_values)


def unit_line(unit: str) -> tuple[float, bytes, bytes]:
    """Return a unit in mm, the line of the header that names it, and the line before which it stands."""
    return UNITS_MM.get(unit.lower(), 1.0), f"DistanceUnits = {unit}\n".encode(), b"ElementDataFile"


def _size(path: Path, fields: dict[str, str]) -> list[int]:
    rank = fields.get("ndims", "")
    if not rank.isascii() or not rank.isdigit() or not 1 <= int(rank) <= MAX_RANK:
        raise UserError(f"{path}: the header says NDims = {rank or 'nothing'}, expected 3")
    sizes = fields.get("dimsize", "").split()
    if len(sizes) != int(rank) or not all(_is_number(size, positive=True, whole=True) for size in sizes):
        raise UserError(
            f"{path}: the header says DimSize = {' '.join(sizes) or 'nothing'}, expected {rank} positive numbers"
        )
    return [int(float(size)) for size in sizes]


def _voxel_data(
    path: Path, fields: dict[str, str], offset: int, sizes: tuple[int, int, int]
) -> tuple[VoxelData, tuple[str, ...]]:
    """Return where the voxels lie, and what is odd about their numbers."""
    if fields["elementdatafile"].upper() != "LOCAL":
        raise UserError(
            f"{path}: its voxels lie in another file ({fields['elementdatafile']}); expected one self-contained .mha"
        )
    if fields.get("binarydata", "true").lower().startswith("f"):
        raise UserError(f"{path}: its voxels are written as text (BinaryData = False); expected a binary .mha")
    if fields.get("headersize", "0") != "0":
        raise UserError(f"{path}: the header says HeaderSize = {fields['headersize']}, expected none; write it anew")
    dtype = _dtype(path, fields)
    slope, intercept = (_scale(path, fields, name, default) for name, default in ((SLOPE, 1.0), (INTERCEPT, 0.0)))
    compressed = fields.get("compresseddata", "false").startswith(TRUE)
    size = fields.get("compresseddatasize", "")
    if compressed and not (size.isascii() and size.isdigit()):
        raise UserError(f"{path}: the header says CompressedDataSize = {size or 'nothing'}, expected a number of bytes")
    data = VoxelData(
        (sizes[2], sizes[1], sizes[0]),
        dtype,
        offset,
        ZLIB_OR_GZIP if compressed else None,
        compressed_bytes=int(size) if compressed else None,
        slope=slope,
        intercept=intercept,
    )
    if (slope, intercept) == (1.0, 0.0):
        return data, ()
    return data, (
        f"{path}: the values were scaled as the header says (ElementToIntensityFunctionSlope {slope:g}, Offset "
        f"{intercept:g}); ITK and programs built on it show them without that",
    )


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype:
    kind, channels = fields.get("elementtype", ""), fields.get("elementnumberofchannels", "1")
    if not channels.isdigit() or kind.upper() not in DTYPES:
        raise UserError(
            f"{path}: the header says ElementType = {kind or 'nothing'} and ElementNumberOfChannels = {channels}, "
            "expected the type of one number, such as MET_FLOAT"
        )
    if int(channels) != 1:
        raise not_one_number(path, kind, int(channels))
    # MetaIO knows the field by two names.
    big = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false")).startswith(TRUE)
    return np.dtype((">" if big else "<") + DTYPES[kind.upper()])


def _scale(path: Path, fields: dict[str, str], name: str, default: float) -> float:
    text = fields.get(name, "") or str(default)
    if not _is_number(text, positive=False) or (name == SLOPE and float(text) == 0):
        raise UserError(f"{path}: the header says {name} = {text}, expected a number that scales the values")
    return float(text)


def _numbers(
    path: Path, fields: dict[str, str], names: tuple[str, ...], count: int, *, positive: bool = False
) -> tuple[float, ...] | None:
    """Return the numbers of a field; None where it is missing under all its names."""
    given = [name for name in names if name in fields]
    if not given:
        return None
    name, others = given[0], [other for other in given[1:] if fields[other].split() != fields[given[0]].split()]
    if others:
        raise UserError(
            f"{path}: the header says {name} = {fields[name]} and {others[0]} = {fields[others[0]]}, expected the same"
        )
    values = fields[name].split()
    if len(values) != count or not all(_is_number(value, positive=positive) for value in values):
        in_words, kind = " ".join(values) or "nothing", "positive" if positive else "finite"
        raise UserError(f"{path}: the header says {name} = {in_words}, expected {count} {kind} numbers")
    return tuple(map(float, values))


def _unit_mm(path: Path, unit: str) -> tuple[float, tuple[str, ...]]:
    """Return the length unit in mm, and a warning about an unknown one."""
    if not unit or unit.lower() in UNITS_MM:
        return UNITS_MM.get(unit.lower(), 1.0), ()
    return 1.0, (f"{path}: the header says DistanceUnits = {unit}, which is unknown; the voxel spacing is taken as mm",)


def _three(values: tuple[float, ...], mm: float) -> tuple[float, float, float]:
    return values[0] * mm, values[1] * mm, values[2] * mm


def _is_number(text: str, *, positive: bool, whole: bool = False) -> bool:
    try:
        return (0 if positive else -math.inf) < float(text) < math.inf and (not whole or float(text).is_integer())
    except ValueError:
        return False
