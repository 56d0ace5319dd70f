"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz): a binary header, then the data; .nii.gz is compressed as a whole.

NIfTI-1 is written wherever its 16 bits hold the size. Offsets are from nifti1.h and nifti2.h.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from swfastedit_core.errors import UserError
from swfastedit_core.files.header import ImageHeader, check_geometry, not_one_number, three_sizes
from swfastedit_core.files.nifti_forms import Form, forms_of, geometry_of
from swfastedit_core.files.voxels import BLOCK, GZIP, GZIP_MAGIC, VoxelData
from swfastedit_core.volume import NiftiForms, Volume

PROGRAM_BYTES = 80  # of the field descrip
COMPRESSION_LEVEL = 2  # of ISA-L, 0 to 3


@dataclass(frozen=True)
class Layout:
    """Where the fields of a header lie, and their types in the notation of `struct`.

    Attributes
    ----------
    size
        Length of the header in bytes; its first field holds it.
    magic
        Mark of one file with header and voxels.
    fields
        Offset and type by the name of the field.
    """

    size: int
    magic: bytes
    fields: dict[str, tuple[int, str]]


LAYOUTS = (
    Layout(348, b"n+1\0", {
        "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
        "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"),
        "descrip": (148, "80s"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"),
        "qoffset": (268, "3f"), "srow": (280, "12f"), "magic": (344, "4s"),
    }),
    Layout(540, b"n+2\0\r\n\x1a\n", {
        "sizeof_hdr": (0, "i"), "magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"),
        "pixdim": (104, "8d"), "vox_offset": (168, "q"), "scl_slope": (176, "d"), "scl_inter": (184, "d"),
        "descrip": (240, "80s"), "qform_code": (344, "i"), "sform_code": (348, "i"), "quatern": (352, "3d"),
        "qoffset": (376, "3d"), "srow": (400, "12d"), "xyzt_units": (500, "i"),
    }),
)  # fmt: skip
DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


def read_header(path: Path, form: Form = "auto") -> ImageHeader:
    """Read and check the header.

    Parameters
    ----------
    path
        A NIfTI file, compressed or not, whatever its ending says.
    form
        Which coordinates to take; see `nifti_forms.geometry_of`.

    Raises
    ------
    UserError
        If the header is damaged, has an impossible value, or its coordinates contradict each other.
    """
    compressed, head = _head(path)
    layout, order = _layout(path, head)
    fields = {name: _unpack(head, order, offset, kind) for name, (offset, kind) in layout.fields.items()}
    if fields["magic"] != layout.magic:
        what = "its voxels lie in another file" if fields["magic"][:2] == b"ni" else "it has no NIfTI magic"
        raise UserError(f"{path}: {what}; expected one self-contained NIfTI file")
    rank, *dim = fields["dim"]
    if not 1 <= rank <= 7 or any(side < 1 for side in dim[:rank]):
        sides = "×".join(map(str, dim[: max(min(rank, 7), 0)]))
        raise UserError(f"{path}: the header says {rank} dimensions ({sides}), expected three positive numbers")
    sizes = three_sizes(path, dim[:rank])
    if fields["datatype"] not in DTYPES:
        raise not_one_number(path, f"of NIfTI's type {fields['datatype']}")
    slope, intercept, odd_scale = _scale(path, fields["scl_slope"], fields["scl_inter"])
    start = fields["vox_offset"]
    if not 0 <= start < 2**62:
        raise UserError(f"{path}: the header says that the voxels begin at byte {start}; is the file damaged?")
    start = max(int(start), layout.size + 4)
    for name in ("qform_code", "sform_code"):
        if abs(fields[name]) >= 2**15:
            raise UserError(f"{path}: the header says {name} = {fields[name]}, expected 0 to 5; is the file damaged?")
    forms = NiftiForms(
        pixdim=fields["pixdim"][:4],
        units=fields["xyzt_units"],
        qform_code=fields["qform_code"],
        sform_code=fields["sform_code"],
        quaternion=fields["quatern"],
        offset=fields["qoffset"],
        srow=fields["srow"],
    )
    geometry, odd = geometry_of(path, forms, sizes, form)
    check_geometry(path, geometry)
    data = VoxelData(
        (sizes[2], sizes[1], sizes[0]),
        np.dtype(order + DTYPES[fields["datatype"]]),
        0 if compressed else start,
        GZIP if compressed else None,
        skip=start if compressed else 0,
        slope=slope,
        intercept=intercept,
    )
    program = fields["descrip"].split(b"\0")[0].decode("utf-8", "replace")
    return ImageHeader(replace(geometry, nifti=forms), data, program, odd + odd_scale)


def write(volume: Volume, path: Path, *, program: str, compressed: bool) -> None:
    """Write a volume; a grid that was read from a NIfTI file keeps both forms, their codes and its unit.

    Parameters
    ----------
    volume
        Voxels of a type that NIfTI has.
    path
        Target; it is overwritten.
    program
        Name for the header.
    compressed
        Whether to write gzip.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    forms = forms_of(volume.geometry)
    layout = LAYOUTS[0 if max(volume.geometry.size_xyz) < 2**15 else 1]  # ITK and older programs read no NIfTI-2
    array = np.ascontiguousarray(volume.array_zyx)
    kind = next(code for code, name in DTYPES.items() if np.dtype(name) == array.dtype)
    x, y, z = volume.geometry.size_xyz
    head = bytearray(layout.size + 4)  # the last four bytes say that there is no extension
    values = {
        "sizeof_hdr": (layout.size,), "magic": (layout.magic,), "dim": (3, x, y, z, 1, 1, 1, 1), "datatype": (kind,),
        "bitpix": (8 * array.dtype.itemsize,), "pixdim": (*forms.pixdim, 0, 0, 0, 0), "vox_offset": (len(head),),
        "scl_slope": (1,), "scl_inter": (0,), "xyzt_units": (forms.units,), "descrip": (program.encode()[:79],),
        "qform_code": (forms.qform_code,), "sform_code": (forms.sform_code,), "quatern": forms.quaternion,
        "qoffset": forms.offset, "srow": forms.srow,
    }  # fmt: skip
    for name, (offset, form) in layout.fields.items():
        struct.pack_into("<" + form, head, offset, *values[name])
    voxels = array.astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B")
    with path.open("wb") as file:
        if not compressed:
            file.write(head)
            file.write(voxels)
            return
        compressor = isal_zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP)
        file.write(compressor.compress(head))
        for start in range(0, len(voxels), BLOCK):
            file.write(compressor.compress(voxels[start : start + BLOCK]))
        file.write(compressor.flush())


def _head(path: Path) -> tuple[bool, bytes]:
    """Return whether the file is compressed, and its first bytes, decompressed."""
    longest = LAYOUTS[-1].size
    with path.open("rb") as file:
        start = file.read(BLOCK)
    if not start.startswith(GZIP_MAGIC):
        return False, start[:longest]
    try:
        return True, zlib.decompressobj(GZIP).decompress(start, longest)
    except zlib.error as error:
        raise UserError(f"{path}: the NIfTI header is damaged ({error})") from error


def _layout(path: Path, head: bytes) -> tuple[Layout, str]:
    """Return the layout of the header, and its byte order in the notation of `struct`."""
    for layout in LAYOUTS:
        for order in "<>":
            if len(head) >= layout.size and head[:4] == struct.pack(order + "i", layout.size):
                return layout, order
    if head.startswith(GZIP_MAGIC):
        raise UserError(f"{path}: is compressed twice; unpack it once")
    raise UserError(f"{path}: the header cannot be read as an image (it is not that of NIfTI); is the file damaged?")


def _unpack(head: bytes, order: str, offset: int, kind: str) -> Any:
    values = struct.unpack_from(order + kind, head, offset)
    return values if len(values) > 1 else values[0]


def _scale(path: Path, slope: float, intercept: float) -> tuple[float, float, tuple[str, ...]]:
    """Return slope, intercept and a warning; a slope of 0 means no scaling, whatever the intercept is."""
    if slope == 0:
        return 1.0, 0.0, ()
    if math.isnan(slope):
        return 1.0, 0.0, (f"{path}: the header gives NaN as the slope of the values; they were not scaled",)
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise UserError(f"{path}: the header scales the values by {slope} and {intercept}, expected finite numbers")
    return slope, intercept, ()
