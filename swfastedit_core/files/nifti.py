"""NIfTI-1 (.nii, .nii.gz): a binary header of 348 bytes, then the data; .nii.gz is compressed as a whole.

Offsets are from nifti1.h. ITK reads no NIfTI-2.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.compressed import BLOCK, GZIP, GZIP_MAGIC, VoxelData

HEADER_BYTES = 348


def check_header(path: Path) -> None:
    """Check nothing: ITK reads damaged headers without harm, and `find_voxel_data` refuses them."""


def find_voxel_data(path: Path, voxels: int) -> VoxelData:
    """Return where the voxel data lies: from the beginning of the file, with the header.

    Raises
    ------
    UserError
        If the header is damaged, or a spacing is not positive: ITK would take 1 mm.
    """
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        try:
            if compressed:
                header = zlib.decompressobj(GZIP).decompress(file.read(BLOCK), HEADER_BYTES)
            else:
                header = file.read(HEADER_BYTES)
            order = "<" if header[:4] == struct.pack("<i", HEADER_BYTES) else ">"
            rank, *sizes = struct.unpack_from(order + "8h", header, 40)
            (bits,) = struct.unpack_from(order + "h", header, 72)
            (offset,) = struct.unpack_from(order + "f", header, 108)
            spacing_mm = struct.unpack_from(order + "3f", header, 80)
            expected = int(offset) + math.prod(max(size, 1) for size in sizes[:rank]) * bits // 8
        except (zlib.error, struct.error, ValueError, OverflowError) as error:
            raise UserError(f"{path}: the NIfTI header is damaged ({error})") from error
    if not all(0 < mm < math.inf for mm in spacing_mm):
        raise UserError(f"{path}: voxel spacing {spacing_mm} mm, expected three positive numbers")
    return VoxelData(0, GZIP if compressed else None, expected)
