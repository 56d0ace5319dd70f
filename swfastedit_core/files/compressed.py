"""Compressed voxel data: whether it is complete and its checksum right, which ITK does not look at.

It has to be unpacked for that; float32, which most scans are, is read at the same time.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.payload import BLOCK, GZIP_MAGIC, Payload, compare_lengths


def read_packed(path: Path, payload: Payload) -> np.ndarray:
    """Read compressed voxels of float32, and check them as `verify_packed` does.

    Parameters
    ----------
    path
        The image.
    payload
        Of which `voxels_at` is known.

    Returns
    -------
    ndarray
        float32, flat, in the file's order: x runs fastest.

    Raises
    ------
    UserError, DataWarning
        As `verify_packed`.
    """
    assert payload.expected_bytes is not None
    unpacked = np.empty(payload.expected_bytes, np.uint8)
    verify_packed(path, payload, into=unpacked.data)
    return unpacked[payload.voxels_at :].view("<f4").astype(np.float32, copy=False)


def verify_packed(path: Path, payload: Payload, *, into: memoryview | None = None) -> None:
    """Check that compressed voxel data is complete and its checksum right, in constant memory.

    Parameters
    ----------
    path
        The image.
    payload
        From `find_payload`.
    into
        Bytes that are filled with the unpacked data.

    Raises
    ------
    UserError
        If it is truncated or damaged.

    Warns
    -----
    DataWarning
        If there is more of it than the header promises.
    """
    with path.open("rb") as file:
        file.seek(payload.offset)
        found, packed = _unpack(file, payload, path, into)
    if payload.packed_bytes is not None and payload.packed_bytes != packed:  # ITK would hand out unset memory
        raise UserError(
            f"{path}: the header says {payload.packed_bytes:,} bytes of compressed data (CompressedDataSize), found "
            f"{packed:,}; is the file damaged?"
        )
    compare_lengths(found, payload, path)


def _unpack(file: BinaryIO, payload: Payload, path: Path, into: memoryview | None) -> tuple[int, int]:
    """Return the bytes of voxel data, unpacked and as they are in the file."""
    assert payload.wbits is not None
    unpack = zlib.decompressobj(payload.wbits)
    found = packed = 0
    try:
        while block := file.read(BLOCK):
            packed += len(block)
            while block:
                if unpack.eof:
                    if not block.startswith(GZIP_MAGIC):  # padding behind the data
                        return found, packed - len(block)
                    unpack = zlib.decompressobj(payload.wbits)  # gzip files may be several streams in a row
                piece = unpack.decompress(block, BLOCK)
                if into is not None and found < len(into):
                    place = into[found : found + len(piece)]
                    place[:] = piece[: len(place)]
                found += len(piece)
                block = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
    except zlib.error as error:
        raise UserError(f"{path}: the compressed voxel data is damaged ({error}); copy or download it again") from error
    if not unpack.eof:
        raise UserError(f"{path}: truncated, the compressed voxel data ends early; copy or download the file again")
    return found, packed
