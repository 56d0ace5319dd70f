"""Voxel data in a file: whether it is complete, and whether its checksum is right. ITK checks neither."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib
from isal.igzip_lib import IsalError

from swfastedit_core.errors import DataWarning, UserError

BLOCK = 2**20  # bytes read at a time
GZIP_MAGIC = b"\x1f\x8b"
GZIP, ZLIB_OR_GZIP = 16 + 15, 32 + 15  # as `zlib.decompressobj` takes the kind of stream


@dataclass(frozen=True)
class VoxelData:
    """Where the voxel data lies in a file.

    Attributes
    ----------
    offset
        First byte.
    stream
        ``GZIP`` or ``ZLIB_OR_GZIP``; None: not compressed.
    expected_bytes
        Length once decompressed, at least; None where the header does not say.
    compressed_bytes
        Length of the compressed data by the header; None where it does not say.
    """

    offset: int
    stream: int | None
    expected_bytes: int | None
    compressed_bytes: int | None = None


def check_voxel_data(path: Path, data: VoxelData) -> None:
    """Check that voxel data is complete, and the checksum of compressed data, in constant memory.

    Parameters
    ----------
    path
        The image.
    data
        Where its voxel data lies.

    Raises
    ------
    UserError
        If the data is truncated or damaged.

    Warns
    -----
    DataWarning
        If there is more data than the header promises.
    """
    if data.stream is None:
        _compare_lengths(path.stat().st_size - data.offset, data, path)
        return
    with path.open("rb") as file:
        file.seek(data.offset)
        length, compressed = _decompress(file, data.stream, path)
    if data.compressed_bytes is not None and data.compressed_bytes != compressed:  # ITK would return unset memory
        raise UserError(
            f"{path}: the header says {data.compressed_bytes:,} bytes of compressed data (CompressedDataSize), found "
            f"{compressed:,}; is the file damaged?"
        )
    _compare_lengths(length, data, path)


def _compare_lengths(length: int, data: VoxelData, path: Path) -> None:
    expected = data.expected_bytes
    if expected is not None and length < expected:
        raise UserError(
            f"{path}: truncated, {length:,} bytes of voxel data where the header promises {expected:,}; "
            "copy or download the file again"
        )
    if expected is not None and length > expected:
        warnings.warn(
            DataWarning(
                f"{path}: {length:,} bytes of voxel data where the header promises {expected:,}; the rest is ignored"
            ),
            stacklevel=4,
        )


def _decompress(file: BinaryIO, stream: int, path: Path) -> tuple[int, int]:
    """Return the number of bytes after and before decompression. ISA-L compares the checksums on the way."""
    decompressor = isal_zlib.decompressobj(stream)
    length = compressed = 0
    try:
        while block := file.read(BLOCK):
            compressed += len(block)
            while block:
                if decompressor.eof:
                    if not block.startswith(GZIP_MAGIC):  # padding behind the data
                        return length, compressed - len(block)
                    decompressor = isal_zlib.decompressobj(stream)  # a gzip file may hold several streams in a row
                length += len(decompressor.decompress(block, BLOCK))
                block = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
    except IsalError as error:  # type: ignore[misc] # isal's stubs do not know it as an exception
        raise UserError(f"{path}: the compressed voxel data is damaged ({error}); copy or download it again") from error
    if not decompressor.eof:
        raise UserError(f"{path}: truncated, the compressed voxel data ends early; copy or download the file again")
    return length, compressed
