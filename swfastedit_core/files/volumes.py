"""Volumes and their files: .mha, .nii, .nii.gz, .nrrd."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.compressed import read_packed, verify_packed
from swfastedit_core.files.headers import checked_geometry, itk_reason, known_suffix, opened
from swfastedit_core.files.payload import find_payload
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.threads import start_in_thread
from swfastedit_core.volume import AIR_HU, Volume

MAX_SUV = 1000.0  # above it the values are hardly SUV
AIR_BELOW_HU = -500.0  # the values of a CT without a voxel below are hardly HU: there is air around every patient
MAX_NON_FINITE = 0.5  # share of the voxels


def read_volume(path: str | Path) -> Volume:
    """Read a PET volume.

    The header is checked before any voxel is read. Voxels that are not finite become 0, with a
    `DataWarning` that counts them; a maximum above 1,000 gives another (Bq/ml instead of SUV?). In NIfTI, ITK puts 0
    for them without a word, and a compressed file is read alike.

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
    gives another (not HU?). A CT of nothing but air is taken as it is. In NIfTI they are 0, as in `read_volume`.

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
    suffix = known_suffix(path)
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
        raise UserError(f"{path}: cannot be written ({itk_reason(error)})") from error


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
    with opened(path) as reader:
        geometry = checked_geometry(reader, path)
        packed = find_payload(path, known_suffix(path), voxels=math.prod(geometry.size_xyz))
        if packed is not None and packed.voxels_at is not None and reader.GetPixelID() == sitk.sitkFloat32:
            array = read_packed(path, packed).reshape(geometry.shape_zyx)
            if known_suffix(path) == ".nii.gz" and not np.isfinite([array.min(), array.max()]).all():
                array[~np.isfinite(array)] = 0.0  # as ITK does where it reads NIfTI
            return Volume(array, geometry)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        reading = start_in_thread(reader.Execute)  # what is packed is unpacked twice, side by side: ITK checks nothing
        try:
            if packed is not None:
                verify_packed(path, packed)
        finally:
            failure = reading.exception()
        if isinstance(failure, RuntimeError):
            raise UserError(
                f"{path}: the voxels cannot be read ({itk_reason(failure)}); is the file damaged?"
            ) from failure
        image = reading.result()
    return Volume(np.asarray(_Voxels(image)), geometry)


class _Voxels:
    """The voxels of an image where ITK put them: an array made of this keeps the image, and nothing is copied."""

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        view = sitk.GetArrayViewFromImage(image).__array_interface__
        address, _ = view["data"]
        self.__array_interface__: dict[str, Any] = view | {"data": (address, False)}  # nobody else holds this image


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
