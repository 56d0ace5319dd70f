"""The grid of a volume in a file: opened and checked before any voxel is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import format_of
from swfastedit_core.volume import Geometry

MAX_BYTES = 4 * 2**30  # of the volume as float32
SPACING_MM = (1e-3, 1e3)  # far beyond any scanner
ORTHONORMAL_TOLERANCE = 1e-3  # NIfTI stores its axes as float32 quaternions

SCALAR_PIXELS = {
    sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkUInt32, sitk.sitkInt32,
    sitk.sitkUInt64, sitk.sitkInt64, sitk.sitkFloat32, sitk.sitkFloat64,
}  # fmt: skip


def read_geometry(path: str | Path) -> Geometry:
    """Read and check the header of a PET or a CT, without its voxels.

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
    """Read a file's header; in the context the reader can read the voxels.

    Raises
    ------
    UserError
        If there is no such file, or it is empty, of an unknown type, unreadable, or no image.
    """
    form = format_of(path)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: is not a file, expected one volume")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read the file")
    form.check_header(path)
    reader = sitk.ImageFileReader()
    with _unambiguous(path) as name:
        reader.SetFileName(str(name))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise UserError(f"{path}: the header cannot be read as an image ({itk_reason(error)})") from error
        yield reader


@contextmanager
def _unambiguous(path: Path) -> Iterator[Path]:
    """Yield a name by which ITK reads this file: for scan.nii.gz it would read scan.nii where both exist."""
    if not path.name.endswith(".nii.gz") or not path.with_suffix("").exists():
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "scan.nii.gz"
        link.symlink_to(path.resolve())
        yield link


def checked_geometry(reader: sitk.ImageFileReader, path: Path) -> Geometry:
    """Return the grid from the header that a reader has read.

    Raises
    ------
    UserError
        If it is not a three-dimensional volume of single numbers, has an impossible geometry or is too large.
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
    """Return the last informative line of an ITK message, without its source location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Reason: " repeats the last error of the system, whatever it was.
    informative = [line for line in lines if not line.startswith("Reason: ")]
    return informative[-1].removeprefix("sitk::ERROR:").strip() if informative else type(error).__name__
