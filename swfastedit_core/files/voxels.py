"""Voxel data in a file: read as float32, with its length and its checksum checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from swfastedit_core.errors import DataWarning, UserError

BLOCK = 2**20  # bytes read at a time
GZIP_MAGIC = b"\x1f\x8b"
GZIP, ZLIB_OR_GZIP = 16 + 15, 32 + 15  # as `zlib.decompressobj` takes the kind of stream


@dataclass(frozen=True)
class VoxelData:
    """Where the voxel data lies in a file, and how its numbers are stored.

    Attributes
    ----------
    shape_zyx
        Voxels, [Z, Y, X].
    dtype
        Type of the stored numbers, with their byte order.
    offset
        First byte of the data in the file; of compressed data, first byte of the stream.
    stream
        ``GZIP`` or ``ZLIB_OR_GZIP``; None: not compressed.
    skip
        Bytes of the decompressed stream before the voxels: NIfTI compresses its header, too.
    compressed_bytes
        Length of the compressed data by the header; None where it does not say.
    slope, intercept
        Value of a voxel = slope × stored number + intercept.
    """

    shape_zyx: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    stream: int | None = None
    skip: int = 0
    compressed_bytes: int | None = None
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def expected_bytes(self) -> int:
        """Length of the voxels before compression."""
        return math.prod(self.shape_zyx) * self.dtype.itemsize

    @property
    def slice_bytes(self) -> int:
        """Length of one slice before compression."""
        return math.prod(self.shape_zyx[1:]) * self.dtype.itemsize


def read_voxels(path: Path, data: VoxelData) -> np.ndarray:
    """Read voxel data. Beside the array it takes the memory of a few blocks.

    Parameters
    ----------
    path
        The image.
    data
        Where its voxel data lies.

    Returns
    -------
    ndarray
        float32 [Z, Y, X], scaled by slope and intercept. NaN and infinity stay.

    Raises
    ------
    UserError
        If the data is truncated or damaged, or if a slice or more follows behind it: then the header is false.

    Warns
    -----
    DataWarning
        If less than a slice follows behind the data.
    """
    if data.stream is None:
        _compare_lengths(path.stat().st_size - data.offset, data, path)
    converter = _Converter(data)
    with path.open("rb") as file:
        file.seek(data.offset)
        if data.stream is None:
            _read_raw(file, data, converter)
        else:
            compressed = _decompress(file, data.stream, path, converter)
            if data.compressed_bytes is not None and data.compressed_bytes != compressed:
                raise UserError(
                    f"{path}: the header says {data.compressed_bytes:,} bytes of compressed data (CompressedDataSize), "
                    f"found {compressed:,}; is the file damaged?"
                )
            _compare_lengths(converter.length, data, path)
    return converter.array.reshape(data.shape_zyx)


class _Converter:
    """Convert stored bytes, as they come, into an array of float32."""

    def __init__(self, data: VoxelData) -> None:
        self.array = np.empty(math.prod(data.shape_zyx), np.float32)
        self.length = 0  # bytes of voxels so far, with those behind the last voxel
        self._data, self._filled = data, 0
        self._skip, self._rest = data.skip, b""

    def add(self, block: bytes) -> None:
        """Take the next bytes of the decompressed stream."""
        if self._skip:
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            block = block[skipped:]
        self.length += len(block)
        wanted = self.array.size - self._filled
        if not block or not wanted:
            return
        if self._rest:
            block = self._rest + block
        count = min(len(block) // self._data.dtype.itemsize, wanted)
        stored = np.frombuffer(block, self._data.dtype, count)
        target = self.array[self._filled : self._filled + count]
        if (self._data.slope, self._data.intercept) == (1.0, 0.0):
            with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite
                target[:] = stored
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                target[:] = stored * np.float64(self._data.slope) + self._data.intercept
        self._filled += count
        self._rest = block[count * self._data.dtype.itemsize :]


def _read_raw(file: BinaryIO, data: VoxelData, converter: _Converter) -> None:
    left = data.expected_bytes
    while left:
        block = file.read(min(BLOCK, left))
        left -= len(block)
        converter.add(block)


def _compare_lengths(length: int, data: VoxelData, path: Path) -> None:
    expected = data.expected_bytes
    if length < expected:
        raise UserError(
            f"{path}: truncated, {max(length, 0):,} bytes of voxel data where the header promises {expected:,}; "
            "copy or download the file again"
        )
    if length >= expected + data.slice_bytes:
        raise UserError(
            f"{path}: {length:,} bytes of voxel data where the header promises {expected:,}: a slice or more is left "
            "over, so size or number type in the header are false; write the file anew"
        )
    if length > expected:
        warnings.warn(
            DataWarning(
                f"{path}: {length:,} bytes of voxel data where the header promises {expected:,}; the rest is ignored"
            ),
            stacklevel=4,
        )


def _decompress(file: BinaryIO, stream: int, path: Path, converter: _Converter) -> int:
    """Decompress to the end of the data; return the number of compressed bytes. ISA-L compares the checksums."""
    compressed = 0
    try:
        decompressor = isal_zlib.decompressobj(stream)
        for block in _blocks(file):
            compressed += len(block)
            while block:
                if decompressor.eof:
                    if not block.startswith(GZIP_MAGIC):  # padding behind the data
                        return compressed - len(block)
                    decompressor = isal_zlib.decompressobj(stream)  # a gzip file may hold several streams in a row
                converter.add(decompressor.decompress(block, BLOCK))
                block = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
        while not decompressor.eof and (rest := decompressor.decompress(b"", BLOCK)):
            converter.add(rest)
    except IsalError as error:  # type: ignore[misc] # isal's stubs do not know it as an exception
        raise UserError(f"{path}: the compressed voxel data is damaged ({error}); copy or download it again") from error
    if not decompressor.eof:
        raise UserError(f"{path}: truncated, the compressed voxel data ends early; copy or download the file again")
    return compressed


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block
