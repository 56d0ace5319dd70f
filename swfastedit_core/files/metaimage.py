"""MetaImage (.mha): a text header whose last line is ElementDataFile, then raw data or one compressed stream.

ITK crashes on some headers and takes 1 mm for a spacing that is missing.
"""

from __future__ import annotations

import math
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.compressed import ZLIB_OR_GZIP, VoxelData
from swfastedit_core.files.text_header import read_text_header

MAX_RANK = 10  # dimensions; MetaIO writes beyond its arrays with more, and with less than one
# Fields with numbers, by all their names.
POSITIVE = ("elementspacing", "elementsize")
FINITE = ("offset", "position", "origin")
MATRICES = ("transformmatrix", "rotation", "orientation")
# Sizes of the element types in bytes, from MetaIO's metaTypes.h.
MET_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip


def check_header(path: Path) -> None:
    """Refuse numbers that MetaIO would crash on, read as 0 or leave out, and a missing spacing.

    Raises
    ------
    UserError
        If a number is not what it should be, or the header has no end.
    """
    fields, _ = _read_header(path)
    rank = fields.get("ndims", "")
    if not rank.isascii() or not rank.isdigit() or not 1 <= int(rank) <= MAX_RANK:
        raise UserError(f"{path}: the header says NDims = {rank or 'nothing'}, expected 3")
    sizes = fields.get("dimsize", "").split()
    if len(sizes) != int(rank) or not all(_is_number(size, positive=True) for size in sizes):
        raise UserError(
            f"{path}: the header says DimSize = {' '.join(sizes) or 'nothing'}, expected {rank} positive numbers"
        )
    if not fields.keys() & set(POSITIVE):
        raise UserError(f"{path}: the header gives no voxel spacing (ElementSpacing)")
    kinds = {**dict.fromkeys(POSITIVE, "positive"), **dict.fromkeys((*FINITE, *MATRICES), "finite")}
    for name in [key for key in fields if key in kinds]:
        values, count = fields[name].split(), int(rank) ** (2 if name in MATRICES else 1)
        if len(values) != count or not all(_is_number(value, positive=name in POSITIVE) for value in values):
            given = " ".join(values) or "nothing"
            raise UserError(f"{path}: the header says {name} = {given}, expected {count} {kinds[name]} numbers")


def find_voxel_data(path: Path, voxels: int) -> VoxelData:
    """Return where the voxel data lies.

    Parameters
    ----------
    path
        An image whose header ITK could read.
    voxels
        Their number, as ITK understood the header.

    Raises
    ------
    UserError
        If the data lies in another file, is written as text, or is where ITK would not read it.
    """
    fields, offset = _read_header(path)
    if fields["elementdatafile"].upper() != "LOCAL":
        raise UserError(
            f"{path}: its voxels lie in another file ({fields['elementdatafile']}); expected one self-contained .mha"
        )
    if fields.get("binarydata", "true").lower().startswith("f"):
        raise UserError(f"{path}: its voxels are written as text (BinaryData = False); expected a binary .mha")
    item = MET_BYTES.get(fields.get("elementtype", "").upper())
    expected = item and voxels * item
    if not fields.get("compresseddata", "false").startswith(("t", "T", "1")):  # as MetaIO reads it
        return VoxelData(offset, None, expected)
    if fields.get("headersize", "0") != "0":  # ITK would return unset memory
        raise UserError(f"{path}: the header says HeaderSize beside compressed voxels, expected none; write it anew")
    size = fields.get("compresseddatasize", "0")
    return VoxelData(offset, ZLIB_OR_GZIP, expected, int(size) if size.isascii() and size.isdigit() else 0)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields by their names in lower case, and the length of the header in bytes."""
    with path.open("rb") as file:
        return read_text_header(file, path, separator="[=:]", last="elementdatafile"), file.tell()


def _is_number(text: str, *, positive: bool) -> bool:
    try:
        return (0 if positive else -math.inf) < float(text) < math.inf
    except ValueError:
        return False
