"""Compressed arrays on disk, from which a part is read without the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Measured on whole bodies at 2 × 2 × 3 mm, with one thread on a busy machine: a crop of 96 × 64 × 96 with its label
# takes 3.5 ms and one of 128³ 12 ms, with a CT 6.5 and 21. Blocks of 32³, a block to each channel, or SHUFFLE take a
# quarter to a half more; SHUFFLE and higher levels save less than a tenth of the disk.
CHUNK, BLOCK = 64, 16  # sides in voxels: what is written and found as one, and in it what is decompressed as one
LEVEL = 1


def pack(array: np.ndarray) -> bytes:
    """Compress an array as a blosc2 file.

    Parameters
    ----------
    array
        [X, Y, Z], or [C, X, Y, Z]: all channels of a place lie together.
    """
    import blosc2

    *channels, x, y, z = array.shape
    packed = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=(*channels, *(min(CHUNK, side) for side in (x, y, z))),
        blocks=(*channels, *(min(BLOCK, side) for side in (x, y, z))),
        cparams=blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=LEVEL, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1),
    )
    return bytes(packed.to_cframe())


def read_part(file: Path, index: tuple[slice, ...]) -> np.ndarray:
    """Read a part of an array that `pack` compressed, in one thread; the file is closed afterwards.

    Raises
    ------
    OSError
        If the file is missing, or was seen to be damaged. Most single wrong bytes are not seen: blosc2 keeps no
        checksums.
    """
    import blosc2

    try:
        # Loaders are many processes: one thread each, and all of them share the pages of the mapped file.
        packed: blosc2.NDArray = blosc2.open(str(file), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        part: np.ndarray = packed[index]
    except (RuntimeError, ValueError, OverflowError, SyntaxError) as error:  # what damaged bytes can lead to
        raise OSError(f"{type(error).__name__}: {error}") from error
    return part
