"""Read PET, CT and labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.geometry import read_header
from swfastedit_core.files.header import ImageHeader
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.files.plausibility import AIR_BELOW_HU, doubts_about_extent, doubts_about_pet
from swfastedit_core.files.voxels import read_voxels
from swfastedit_core.volume import AIR_HU, Volume

MAX_NON_FINITE = 0.5  # share of the voxels


def read_volume(path: str | Path, *, form: Form = "auto") -> Volume:
    """Read a PET.

    The header is checked before any voxel is read. Each thing that is ambiguous about header or values gives a
    `DataWarning`: coordinates or units, voxels that are not finite numbers (they become 0), values that do not look
    like SUV.

    Parameters
    ----------
    path
        A .mha, .nii, .nii.gz or .nrrd file.
    form
        Which coordinates of a NIfTI file count: "qform", "sform", or "auto" for the sform where there is one and the
        two do not contradict each other.

    Returns
    -------
    Volume
        float32 [Z, Y, X].

    Raises
    ------
    UserError
        If the file is missing, empty, damaged or of an unknown type; if it is not a three-dimensional volume of
        single numbers, has an impossible geometry, contradicts itself, is larger than 4 GiB as float32, or is mostly
        not finite.
    """
    path = Path(path)
    header = read_header(path, form=form)
    volume = _read(path, header)
    low, high = _make_finite(volume.array_zyx, path, fill=0.0, expected="a PET in SUV")
    stored = header.data.dtype if header.data.slope == 1.0 else volume.array_zyx.dtype
    for doubt in doubts_about_pet(volume.array_zyx, volume.geometry, stored=stored, low=low, high=high):
        warnings.warn(DataWarning(f"{path}: {doubt}"), stacklevel=2)
    return volume


def read_ct(path: str | Path, *, form: Form = "auto") -> Volume:
    """Read a CT.

    Voxels that are not finite become air (`AIR_HU`), with a `DataWarning` that counts them. A minimum above -500 gives
    a warning (not HU?). A CT of nothing but air is accepted.

    Parameters
    ----------
    path, form
        As `read_volume`.

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
    volume = _read(path, read_header(path, form=form))
    low, _ = _make_finite(volume.array_zyx, path, fill=AIR_HU, expected="a CT in HU")
    doubts = doubts_about_extent(volume.geometry)
    if low > AIR_BELOW_HU:
        doubts.append(f"minimum {low:,.0f}, and air has -1,000 HU; is it a CT, and not rescaled?")
    for doubt in doubts:
        warnings.warn(DataWarning(f"{path}: {doubt}"), stacklevel=2)
    return volume


def read_label(path: str | Path, *, form: Form = "auto", what: str = "label") -> Volume:
    """Read a label as it is in the file.

    Parameters
    ----------
    path, form
        As `read_volume`.
    what
        What it is, for messages.

    Returns
    -------
    Volume
        float32 [Z, Y, X].

    Raises
    ------
    UserError
        As `read_volume`, and if a voxel is not a finite number.
    """
    path = Path(path)
    volume = _read(path, read_header(path, form=form))
    if not np.isfinite([volume.array_zyx.min(), volume.array_zyx.max()]).all():
        raise UserError(f"{path}: the {what} has voxels that are not finite numbers, expected 0, 1, …")
    return volume


def _read(path: Path, header: ImageHeader) -> Volume:
    for message in header.warnings:
        warnings.warn(DataWarning(message), stacklevel=3)
    return Volume(read_voxels(path, header.data), header.geometry)


def _make_finite(array: np.ndarray, path: Path, *, fill: float, expected: str) -> tuple[float, float]:
    """Put `fill` where a voxel is not a finite number, with a warning; return the lowest and the highest value."""
    low, high = float(array.min()), float(array.max())  # NaN or infinite as soon as one voxel is
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count > MAX_NON_FINITE * array.size:
        raise UserError(
            f"{path}: {count:,} of {array.size:,} voxels are not finite numbers, expected {expected}; if they are "
            f"outside of the body, write {fill:g} there"
        )
    array[bad] = fill
    warnings.warn(DataWarning(f"{path}: {count:,} voxels were not finite numbers and became {fill:g}"), stacklevel=3)
    return float(array.min()), float(array.max())
