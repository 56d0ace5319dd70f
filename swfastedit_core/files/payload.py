"""What ITK does not check in an image file: numbers in the header, where the voxel data lies and how long it is.

ITK crashes on some headers, makes 1 mm of a spacing that is missing and zero-fills truncated NIfTI.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from swfastedit_core.errors import DataWarning, UserError

BLOCK = 2**20  # bytes read at a time
HEADER_LIMIT = 2**20  # bytes; a text header longer than that is none
GZIP_MAGIC = b"\x1f\x8b"
MAX_RANK = 10  # dimensions; MetaIO writes beyond its arrays with more, and with less than one
# Numbers in MetaImage's header, by all the names they go by.
POSITIVE = ("elementspacing", "elementsize")
FINITE = ("offset", "position", "origin")
MATRICES = ("transformmatrix", "rotation", "orientation")
# MetaImage's fields that can make values of float32 in the file other ones in memory, or shift them.
BIG_ENDIAN = ("binarydatabyteordermsb", "elementbyteordermsb")
SHIFTING = ("elementtointensityfunctionslope", "elementtointensityfunctionoffset")
NIFTI_FLOAT32, NIFTI_HEADER = 16, 352  # datatype, and bytes with the four that follow it; nifti1.h

# Sizes of MetaImage's element types in bytes, from MetaIO's metaTypes.h.
MET_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Payload:
    """Where the voxel data starts in a file, how it is packed, and how long it is once unpacked."""

    offset: int
    wbits: int | None  # as zlib.decompressobj takes it; None: not compressed
    expected_bytes: int | None  # None: the header does not say in a way worth parsing
    packed_bytes: int | None = None  # length of the compressed data as the header gives it, where it does
    voxels_at: int | None = None  # where in the unpacked data voxels of little-endian float32 begin; None: ask ITK


def verify_header(path: Path, suffix: str) -> None:
    """Check what ITK would crash on or replace in silence; to be called before ITK sees the file.

    Parameters
    ----------
    path
        A file that exists and can be read.
    suffix
        One of ``headers.SUFFIXES``.

    Raises
    ------
    UserError
        If a number in the header cannot be what it should be, or the voxel spacing is missing.
    """
    with path.open("rb") as file:
        if suffix == ".mha":
            _metaimage_numbers(_text_header(file, path, separator="[=:]", last="elementdatafile"), path)
        elif suffix == ".nrrd":
            fields = _text_header(file, path, separator=":", last="")
            if "spacings" not in fields and "space directions" not in fields:
                raise UserError(f"{path}: the header gives no voxel spacing (spacings or space directions)")


def find_payload(path: Path, suffix: str, *, voxels: int) -> Payload | None:
    """Check where the voxel data lies, and its length where it is not compressed, without reading it.

    Parameters
    ----------
    path
        An image whose header ITK could read.
    suffix
        One of ``headers.SUFFIXES``.
    voxels
        Their number, as ITK understood the header.

    Returns
    -------
    Payload or None
        What `verify_packed` has to check; None where there is nothing left to check.

    Raises
    ------
    UserError
        If the data is truncated, or lies in another file.

    Warns
    -----
    DataWarning
        If there is more of it than the header promises.
    """
    with path.open("rb") as file:
        if suffix == ".mha":
            payload: Payload | None = _metaimage(file, path, voxels)
        else:
            payload = _nrrd(file, path) if suffix == ".nrrd" else _nifti(file, path, voxels)
    if payload is not None and payload.wbits is None:
        compare_lengths(path.stat().st_size - payload.offset, payload, path)
        return None
    return payload


def compare_lengths(found: int, payload: Payload, path: Path) -> None:
    """Compare the bytes of voxel data with what the header promises.

    Raises
    ------
    UserError
        If there are fewer.

    Warns
    -----
    DataWarning
        If there are more.
    """
    if payload.expected_bytes is not None and found < payload.expected_bytes:
        raise UserError(
            f"{path}: truncated, {found:,} bytes of voxel data where the header promises {payload.expected_bytes:,}; "
            "copy or download the file again"
        )
    if payload.expected_bytes is not None and found > payload.expected_bytes:
        warnings.warn(
            DataWarning(
                f"{path}: {found:,} bytes of voxel data where the header promises {payload.expected_bytes:,}; what is "
                "too much is ignored"
            ),
            stacklevel=3,
        )


def _text_header(file: BinaryIO, path: Path, *, separator: str, last: str) -> dict[str, str]:
    """Read lines of key and value up to and including the one whose key is `last` ('' = the blank line).

    `separator` is a regular expression.
    """
    fields: dict[str, str] = {}
    while file.tell() < HEADER_LIMIT:
        line = file.readline(HEADER_LIMIT).decode("latin-1").strip()
        key, *value = re.split(separator, line, maxsplit=1)
        fields[key.strip().lower()] = "".join(value).strip()
        if key.strip().lower() == last:
            return fields
        if not line and file.read(1) == b"":
            break
    raise UserError(f"{path}: the header cannot be read as an image (it has no end); is the file damaged?")


def _metaimage_numbers(fields: dict[str, str], path: Path) -> None:
    """Refuse what MetaIO would crash on, read as 0 or leave out."""
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
            found = " ".join(values) or "nothing"
            raise UserError(f"{path}: the header says {name} = {found}, expected {count} {kinds[name]} numbers")


def _is_number(text: str, *, positive: bool) -> bool:
    try:
        return (0 if positive else -math.inf) < float(text) < math.inf
    except ValueError:
        return False


def _metaimage(file: BinaryIO, path: Path, voxels: int) -> Payload:
    """MetaImage: text header whose last line is ElementDataFile, then raw data or one zlib stream."""
    fields = _text_header(file, path, separator="[=:]", last="elementdatafile")
    if fields["elementdatafile"].upper() != "LOCAL":
        raise UserError(
            f"{path}: its voxels lie in another file ({fields['elementdatafile']}); expected one self-contained .mha"
        )
    if fields.get("binarydata", "true").lower().startswith("f"):
        raise UserError(f"{path}: its voxels are written as text (BinaryData = False); expected a binary .mha")
    item = MET_BYTES.get(fields.get("elementtype", "").upper())
    if not fields.get("compresseddata", "false").startswith(("t", "T", "1")):  # as MetaIO reads it
        return Payload(file.tell(), None, item and voxels * item)
    size = fields.get("compresseddatasize", "0")
    if fields.get("headersize", "0") != "0":  # ITK would hand out unset memory
        raise UserError(f"{path}: the header says HeaderSize beside compressed voxels, expected none; write it anew")
    start = file.tell()
    plain = fields.get("elementtype", "").upper() == "MET_FLOAT" and not any(name in fields for name in SHIFTING)
    plain = plain and not any(fields.get(name, "f")[:1] in ("t", "T", "1") for name in BIG_ENDIAN)
    file.seek(0)
    header = file.read(start)
    spellings = header.lower().count(b"byteordermsb"), header.count(b"ByteOrderMSB")
    plain = plain and spellings in ((0, 0), (1, 1))  # MetaIO takes the exact name only, and there may be several
    # MetaIO lets zlib detect the stream's own header: +32.
    return Payload(
        start,
        zlib.MAX_WBITS + 32,
        item and voxels * item,
        int(size) if size.isascii() and size.isdigit() else 0,
        voxels_at=0 if plain else None,
    )


def _nrrd(file: BinaryIO, path: Path) -> Payload | None:
    """NRRD: text header up to a blank line, then the data; teem itself checks the length of raw data."""
    fields = _text_header(file, path, separator=":", last="")
    if "data file" in fields or "datafile" in fields:
        raise UserError(f"{path}: its voxels lie in another file; expected one self-contained .nrrd")
    if fields.get("encoding", "").lower() not in ("gzip", "gz"):
        return None
    return Payload(file.tell(), zlib.MAX_WBITS + 16, None)


def _nifti(file: BinaryIO, path: Path, voxels: int) -> Payload:
    """NIfTI-1, plain or gzipped as a whole; offsets from nifti1.h. ITK reads no NIfTI-2."""
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    try:
        start = zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(file.read(BLOCK), 348) if packed else file.read(348)
        order = "<" if start[:4] == struct.pack("<i", 348) else ">"
        rank, *sizes = struct.unpack_from(order + "8h", start, 40)
        (bits,), (offset,) = struct.unpack_from(order + "h", start, 72), struct.unpack_from(order + "f", start, 108)
        (kind,) = struct.unpack_from(order + "h", start, 70)
        slope, intercept = struct.unpack_from(order + "2f", start, 112)
        spacing_mm = struct.unpack_from(order + "3f", start, 80)
        expected = int(offset) + math.prod(max(size, 1) for size in sizes[:rank]) * bits // 8
    except (zlib.error, struct.error, ValueError, OverflowError) as error:
        raise UserError(f"{path}: the NIfTI header is damaged ({error})") from error
    if not all(0 < mm < math.inf for mm in spacing_mm):  # ITK makes 1 mm of these without a word
        raise UserError(f"{path}: voxel spacing {spacing_mm} mm, expected three positive numbers")
    plain = order == "<" and kind == NIFTI_FLOAT32 and slope in (0, 1) and intercept == 0  # 0: there is no slope
    plain = plain and NIFTI_HEADER <= offset <= HEADER_LIMIT and offset % 4 == 0 and expected == offset + 4 * voxels
    return Payload(0, zlib.MAX_WBITS + 16 if packed else None, expected, voxels_at=int(offset) if plain else None)
