"""Read PET and CT."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.compressed import check_voxel_data
from swfastedit_core.files.formats import format_of
from swfastedit_core.files.geometry import checked_geometry, itk_reason, opened
from swfastedit_core.system.threads import start_in_thread
from swfastedit_core.volume import AIR_HU, Volume

MAX_SUV = 1000.0  # higher values are hardly SUV
AIR_BELOW_HU = -500.0  # every CT shows air around the patient; without a lower voxel the values are hardly HU
MAX_NON_FINITE = 0.5  # share of the voxels


def read_volume(path: str | Path) -> Volume:
    """Read a PET.

    The header is checked before any voxel is read. Voxels that are not finite become 0, with a `DataWarning` that
    counts them; in NIfTI ITK makes them 0 without a warning. A maximum above 1,000 gives a warning (Bq/ml, not SUV?).

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
        If the file is missing, empty, damaged or of an unknown type; if it is not a three-dimensional volume of
        single numbers, has an impossible geometry, is larger than 4 GiB as float32, or is mostly not finite.
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
    """Read a CT.

    Voxels that are not finite become air (`AIR_HU`), with a `DataWarning` that counts them (in NIfTI they become 0
    without a warning). A minimum above -500 gives a warning (not HU?). A CT of nothing but air is accepted.

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


def _read(path: Path) -> Volume:
    """Read a volume as float32. ITK reads the voxels while this thread checks length and checksum of the data."""
    form = format_of(path)
    with opened(path) as reader:
        geometry = checked_geometry(reader, path)
        data = form.find_voxel_data(path, math.prod(geometry.size_xyz))
        if data is not None and data.stream is None:
            check_voxel_data(path, data)
            data = None
        reader.SetOutputPixelType(sitk.sitkFloat32)
        reading = start_in_thread(reader.Execute)
        try:
            if data is not None:
                check_voxel_data(path, data)
        finally:
            failure = reading.exception()
        if isinstance(failure, RuntimeError):
            raise UserError(
                f"{path}: the voxels cannot be read ({itk_reason(failure)}); is the file damaged?"
            ) from failure
        image = reading.result()
    return Volume(np.asarray(_Voxels(image)), geometry)


class _Voxels:
    """The voxels of an image in ITK's memory: an array made of this keeps the image alive and copies nothing."""

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        view = sitk.GetArrayViewFromImage(image).__array_interface__
        address, _ = view["data"]
        self.__array_interface__: dict[str, Any] = view | {"data": (address, False)}  # writable: no other owner


def _make_finite(array: np.ndarray, path: Path, *, fill: float, expected: str) -> tuple[float, float]:
    """Put `fill` where a voxel is not a finite number, with a warning; return the lowest and the highest value."""
    low, high = float(array.min()), float(array.max())  # NaN or infinite as soon as one voxel is
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count > MAX_NON_FINITE * array.size:
        raise UserError(f"{path}: {count:,} of {array.size:,} voxels are not finite numbers, expected {expected}")
    array[bad] = fill
    warnings.warn(DataWarning(f"{path}: {count:,} voxels were not finite numbers and became {fill:g}"), stacklevel=3)
    return float(array.min()), float(array.max())
