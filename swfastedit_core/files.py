"""Volumes and their files: .mha, .nii, .nii.gz, .nrrd."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from swfastedit_core.atomic import replacing
from swfastedit_core.background import begun
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.payload import find_payload, verify_header, verify_packed
from swfastedit_core.volume import AIR_HU, Geometry, Volume

SUFFIXES = (".mha", ".nii.gz", ".nii", ".nrrd")
MAX_BYTES = 4 * 2**30  # of the volume as float32
SPACING_MM = (1e-3, 1e3)  # what no scanner comes near
MAX_SUV = 1000.0  # above it the values are hardly SUV
AIR_BELOW_HU = -500.0  # the values of a CT without a voxel below are hardly HU: there is air around every patient
ORTHONORMAL_TOLERANCE = 1e-3  # NIfTI keeps its axes as float32 quaternions
MAX_NON_FINITE = 0.5  # share of the voxels

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
    with _opened(path) as reader:
        return _checked_geometry(reader, path)


def read_volume(path: str | Path) -> Volume:
    """Read a PET volume.

    The header is checked before any voxel is read. Voxels that are not finite become 0, with a
    `DataWarning` that counts them; a maximum above 1,000 gives another (Bq/ml instead of SUV?).

    Parameters
    ----------
    path
        A .mha, .nii, .nii.gz or .nrrd file.

    Returns
    -------
    Volume
        float32 [Z, Y, X].

    Raises
    ------
    UserError
        If the file is missing, empty, damaged, of an unknown type, not a three-dimensional volume of one
        component, has an impossible geometry, is larger than 4 GiB as float32, or is mostly not finite.
    """
    path = Path(path)
    volume = _read(path)
    array = volume.array_zyx
    low, high = _make_finite(array, path, fill=0.0, expected="a PET in SUV")
    if array.size > 1 and low == high:
        warnings.warn(DataWarning(f"{path}: every voxel is {low:g}, there is no image in it"), stacklevel=2)
    if high > MAX_SUV:
        warnings.warn(
            DataWarning(f"{path}: maximum {high:,.0f} is hardly an SUV; is the file in Bq/ml? Convert it to SUV first"),
            stacklevel=2,
        )
    return volume


def read_ct(path: str | Path) -> Volume:
    """Read a CT volume: as `read_volume`, but what is odd about HU is not what is odd about SUV.

    Voxels that are not finite become air (`AIR_HU`), with a `DataWarning` that counts them; a minimum above -500
    gives another (not HU?). A CT of nothing but air is taken as it is.

    Parameters
    ----------
    path
        A .mha, .nii, .nii.gz or .nrrd file.

    Returns
    -------
    Volume
        HU, float32 [Z, Y, X].

    Raises
    ------
    UserError
        As `read_volume`.
    """
    path = Path(path)
    volume = _read(path)
    low, _ = _make_finite(volume.array_zyx, path, fill=AIR_HU, expected="a CT in HU")
    if low > AIR_BELOW_HU:
        warnings.warn(
            DataWarning(f"{path}: minimum {low:,.0f}, and air has -1,000 HU; is it a CT, and not rescaled?"),
            stacklevel=2,
        )
    return volume


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume, compressed, in its array's type, through a temporary file beside the target.

    Parameters
    ----------
    volume
        What to write.
    path
        Target, in the format its ending names; folders are made. An existing file is replaced in one step.

    Raises
    ------
    UserError
        If the ending is unknown, the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    suffix = _known_suffix(path)
    image = to_image(volume)
    try:
        with replacing(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=True)
            packed = find_payload(temporary, suffix, voxels=volume.array_zyx.size)
            if packed is not None:  # ITK writes NIfTI to a full disk without a word
                verify_packed(temporary, packed)
    except UserError as error:
        raise UserError(f"{path}: cannot be written whole; is the disk full?") from error
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path}: cannot be written ({_itk_reason(error)})") from error


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
    write_volume(Volume(array.astype(np.uint8, copy=False), mask.geometry), path)


def to_image(volume: Volume) -> sitk.Image:
    """Copy a volume into an image of SimpleITK's, of the array's type."""
    image = sitk.GetImageFromArray(volume.array_zyx)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def _read(path: Path) -> Volume:
    """Read a volume as float32; its header is checked before any voxel is read, its values are not."""
    with _opened(path) as reader:
        geometry = _checked_geometry(reader, path)
        packed = find_payload(path, suffix_of(path) or "", voxels=math.prod(geometry.size_xyz))
        reader.SetOutputPixelType(sitk.sitkFloat32)
        reading = begun(reader.Execute)  # what is compressed is unpacked twice, side by side
        try:
            if packed is not None:
                verify_packed(path, packed)
        finally:
            failure = reading.exception()
        if isinstance(failure, RuntimeError):
            raise UserError(
                f"{path}: the voxels cannot be read ({_itk_reason(failure)}); is the file damaged?"
            ) from failure
        image = reading.result()
    return Volume(sitk.GetArrayFromImage(image), geometry)


@contextmanager
def _opened(path: Path) -> Iterator[sitk.ImageFileReader]:
    """Read the header, nothing else; the reader can read the voxels while the context lasts."""
    suffix = _known_suffix(path)
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
            raise UserError(f"{path}: the header cannot be read as an image ({_itk_reason(error)})") from error
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


def _known_suffix(path: Path) -> str:
    """Return the file type's ending; refuse names that ITK cannot handle."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # SimpleITK would abort the process
        raise UserError(f"{str(path)!a}: the name is not UTF-8; rename the file or folder") from error
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: unknown file type, expected one of {' '.join(SUFFIXES)}, in lower case")
    return suffix


def _checked_geometry(reader: sitk.ImageFileReader, path: Path) -> Geometry:
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


def _make_finite(array: np.ndarray, path: Path, *, fill: float, expected: str) -> tuple[float, float]:
    """Put `fill` where a voxel is not a finite number, with a warning; return the lowest and the highest value."""
    low, high = float(array.min()), float(array.max())  # both are NaN or infinite as soon as one voxel is
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count > MAX_NON_FINITE * array.size:
        raise UserError(f"{path}: {count:,} of {array.size:,} voxels are not finite numbers, expected {expected}")
    array[bad] = fill
    warnings.warn(DataWarning(f"{path}: {count:,} voxels were not finite numbers and became {fill:g}"), stacklevel=3)
    return float(array.min()), float(array.max())


def _itk_reason(error: Exception) -> str:
    """Return the last line of an ITK message that says something, without its source location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not line.startswith("Reason: ")
    ]  # the last error of the system, whatever it was
    return telling[-1].removeprefix("sitk::ERROR:").strip() if telling else type(error).__name__
