"""Image files written by hand, and the message that refuses a file."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from swfastedit_core import UserError, read_volume

MHA_HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 2 2 3
DimSize = 4 3 2
ElementType = MET_FLOAT
ElementDataFile = LOCAL
"""


def values(shape=(6, 7, 8)):
    return np.random.default_rng(0).random(shape, np.float32)


def image(array, *, spacing_mm=(1.0, 1.0, 1.0), **more):
    made = sitk.GetImageFromArray(array, **more)
    if made.GetDimension() == 3:
        made.SetSpacing(spacing_mm)
    return made


VOXELS = np.arange(24, dtype="<f4").tobytes()


def mha(path, old="", new="", payload=VOXELS):
    """Write a tiny MetaImage by hand, with one piece of its header replaced."""
    assert old in MHA_HEADER
    path.write_bytes(MHA_HEADER.replace(old, new, 1 if old else 0).encode() + payload)
    return path


def refused(path, read=read_volume):
    """Return the message of the one error that reading raises, and check its form."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def nifti(path, *, size=(4, 3, 2), spacing_mm=(2.0, 2.0, 3.0), order="<"):
    """Write a NIfTI-1 of 24 float32 voxels by hand, with the identity as its qform; offsets from nifti1.h."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into(order + "2h", header, 70, 16, 32)  # float32 of 32 bits
    struct.pack_into(order + "8f", header, 76, 1, *spacing_mm, 0, 0, 0, 0)
    struct.pack_into(order + "f", header, 108, 352)  # where the voxels start
    struct.pack_into(order + "h", header, 252, 1)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + np.arange(24, dtype=order + "f4").tobytes())
    return path


def packed_mha(path, size_line, flag="True", level=-1):
    """Write a whole compressed MetaImage with a CompressedDataSize line of choice."""
    packed = zlib.compress(VOXELS, level)
    lines = f"CompressedData = {flag}\n" + size_line.format(len(packed))
    return mha(path, "CompressedData = False\n", lines, packed)
