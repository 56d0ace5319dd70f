"""Headers of volumes: what files may be, where their voxels lie, and what is refused before any voxel is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from swfastedit_core.errors import UserError
from swfastedit_core.files.payload import verify_header
from swfastedit_core.volume import Geometry

SUFFIXES = (".mha", ".nii.gz", ".nii", ".nrrd")
MAX_BYTES = 4 * 2**30  # of the volume as float32
SPACING_MM = (1e-3, 1e3)  # what no scanner comes near
ORTHONORMAL_TOLERANCE = 1e-3  # NIfTI keeps its axes as float32 quaternions

SCALAR_PIXELS = {
    sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkUInt32, sitk.sitkInt32,
    sitk.sitkUInt64, sitk.sitkInt64, sitk.sitkFloat32, sitk.sitkFloat64,
}  # fmt: skip


def suffix_of(path: Path) -> str | None:
    """Return which of ``SUFFIXES`` the file name ends with, None if it is none of them (ITK wants lower case)."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def read_geometry(path: str | Path) -> Geometry:
    """Read the header of a PET or a CT and check it, without its voxels.

    Raises
    ------
    UserError
        As `read_volume`, for what the header shows.
    """
    path = Path(path)
    with opened(path) as reader:
        return checked_geometry(reader, path)


@contextmanager
def opened(path: Path) -> Iterator[sitk.ImageFileReader]:
    """Read a file's header, nothing else; the reader can read the voxels while the context lasts.

    Raises
    ------
    UserError
        If there is no such file, or it is empty, of an unknown type, not to be read, or no image.
    """
    suffix = known_suffix(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: is not a file, expected one volume")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read the file")
    verify_header(path, suffix)
    reader = sitk.ImageFileReader()
    with _unmistakable(path) as name:
        reader.SetFileName(str(name))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise UserError(f"{path}: the header cannot be read as an image ({itk_reason(error)})") from error
        yield reader


@contextmanager
def _unmistakable(path: Path) -> Iterator[Path]:
    """Give a name by which ITK reads this file: told to read scan.nii.gz, it takes scan.nii where both are there."""
    if not path.name.endswith(".nii.gz") or not path.with_suffix("").exists():
        yield path
        return
    with TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.nii.gz"
        alone.symlink_to(path.resolve())
        yield alone


def known_suffix(path: Path) -> str:
    """Return the file type's ending.

    Raises
    ------
    UserError
        If it is none of ``SUFFIXES``, or ITK cannot handle the name.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # SimpleITK would abort the process
        raise UserError(f"{str(path)!a}: the name is not UTF-8; rename the file or folder") from error
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: unknown file type, expected one of {' '.join(SUFFIXES)}, in lower case")
    return suffix


def checked_geometry(reader: sitk.ImageFileReader, path: Path) -> Geometry:
    """Return where the voxels lie that a reader has read the header of.

    Raises
    ------
    UserError
        If it is not a three-dimensional volume of one number each, has an impossible geometry or is too large.
    """
    size = reader.GetSize()
    if len(size) != 3:
        raise UserError(
            f"{path}: {len(size)} dimensions ({'×'.join(map(str, size))}), expected three: one static volume"
        )
    if reader.GetNumberOfComponents() != 1 or reader.GetPixelID() not in SCALAR_PIXELS:
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise UserError(
            f"{path}: voxels are '{kind}' with {reader.GetNumberOfComponents()} component(s), expected one number each"
        )
    if min(size) < 1:
        raise UserError(f"{path}: size {'×'.join(map(str, size))}, expected at least one voxel along each axis")
    size_bytes = 4 * size[0] * size[1] * size[2]
    if size_bytes > MAX_BYTES:
        raise UserError(
            f"{path}: {'×'.join(map(str, size))} voxels need {size_bytes / 2**30:.1f} GiB as float32, "
            f"the limit is {MAX_BYTES // 2**30}"
        )
    spacing = reader.GetSpacing()
    low, high = SPACING_MM
    if not all(low <= mm <= high for mm in spacing):
        raise UserError(f"{path}: voxel spacing {spacing} mm, expected three numbers from {low} to {high}")
    origin, direction = reader.GetOrigin(), reader.GetDirection()
    axes = np.array(direction).reshape(3, 3)
    if not np.isfinite(origin).all():
        raise UserError(f"{path}: origin {origin} mm is not finite")
    if not np.allclose(axes.T @ axes, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
        raise UserError(
            f"{path}: the axes {tuple(round(d, 4) for d in direction)} are not orthonormal (sheared or scaled); "
            "resample the scan first"
        )
    return Geometry(size, spacing, origin, direction)


def itk_reason(error: Exception) -> str:
    """Return the last line of an ITK message that says something, without its source location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not line.startswith("Reason: ")
    ]  # the last error of the system, whatever it was
    return telling[-1].removeprefix("sitk::ERROR:").strip() if telling else type(error).__name__
