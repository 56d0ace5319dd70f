"""Write volumes and masks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from isal import isal_zlib

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import format_of
from swfastedit_core.files.geometry import read_header
from swfastedit_core.files.nifti_forms import FORMS
from swfastedit_core.files.voxels import read_voxels
from swfastedit_core.system.atomic import replacing
from swfastedit_core.volume import Volume

PROGRAM = "swfastedit"  # in the header of every file that is written here; in masks with a checksum of the voxels


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume, compressed, in its array's type, through a temporary file beside the target.

    A NIfTI file of a grid that was read from NIfTI carries the scan's qform, sform, their codes and its unit.

    Parameters
    ----------
    volume
        Voxels and grid; bool becomes uint8.
    path
        Target, in the format of its ending. Its folder is made; an existing file is replaced in one step.

    Raises
    ------
    UserError
        If the ending is unknown, the folder cannot be written, or the disk is full.
    ValueError
        If the array's type is not one of integers of 8 to 64 bits, float32 and float64.
    """
    _write(volume, Path(path), program=PROGRAM)


def _write(volume: Volume, path: Path, *, program: str) -> None:
    array = volume.array_zyx
    if array.dtype == np.bool_:
        volume = Volume(array.view(np.uint8), volume.geometry)
    elif array.dtype.kind not in "iuf" or array.dtype.itemsize not in (1, 2, 4, 8) or array.dtype == np.float16:
        raise ValueError(f"voxels of {array.dtype}, expected integers, float32 or float64")
    form = format_of(path)
    try:
        with replacing(path) as temporary:
            form.write(volume, temporary, program=program)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path}: cannot be written ({_reason(error)})") from error


def write_mask(mask: Volume, path: str | Path) -> None:
    """Write a mask as uint8 with values 0 and 1; otherwise as `write_volume`.

    Parameters
    ----------
    mask
        Array of bool or of integers 0 and 1, [Z, Y, X].
    path
        Target file.

    Raises
    ------
    UserError
        As `write_volume`.
    ValueError
        If the array holds anything but 0 and 1.
    """
    array = mask.array_zyx
    if (
        array.dtype != np.bool_
        and array.size
        and not (array.min() >= 0 and array.max() <= 1 and array.dtype.kind in "ui")
    ):
        raise ValueError(f"a mask holds the integers 0 and 1, not {array.dtype} from {array.min()} to {array.max()}")
    array = np.ascontiguousarray(array.astype(np.uint8, copy=False))
    _write(Volume(array, mask.geometry), Path(path), program=_mark(array))


def is_own_mask(path: Path) -> bool:
    """Whether a file is a mask as this program wrote it. One that was edited since has another checksum."""
    for form in FORMS:  # the coordinates do not matter here, and may contradict each other as those of the scan
        with suppress(UserError):
            header = read_header(path, form=form)
            marked = header.program.startswith(f"{PROGRAM} mask ")
            if not marked or header.data.dtype != np.uint8 or (header.data.slope, header.data.intercept) != (1.0, 0.0):
                return False  # before the voxels are read
            return header.program == _mark(read_voxels(path, header.data).astype(np.uint8))
    return False


def _mark(mask: np.ndarray) -> str:
    """Return the text that marks a mask in its header."""
    return f"{PROGRAM} mask {isal_zlib.crc32(mask.data.cast('B')):08x}"


def _reason(error: Exception) -> str:
    """Return the last informative line of a message of ITK or of the system, without its source location."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Reason: " repeats the last error of the system, whatever it was.
    informative = [line for line in lines if not line.startswith("Reason: ")]
    return informative[-1].removeprefix("sitk::ERROR:").strip() if informative else type(error).__name__
