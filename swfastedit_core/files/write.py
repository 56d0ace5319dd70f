"""Write volumes and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from swfastedit_core.errors import UserError
from swfastedit_core.files.compressed import check_voxel_data
from swfastedit_core.files.formats import format_of
from swfastedit_core.files.geometry import itk_reason
from swfastedit_core.system.atomic import replacing
from swfastedit_core.volume import Volume


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume, compressed, in its array's type, through a temporary file beside the target.

    Parameters
    ----------
    volume
        Voxels and grid.
    path
        Target, in the format of its ending. Its folder is made; an existing file is replaced in one step.

    Raises
    ------
    UserError
        If the ending is unknown, the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    form = format_of(path)
    image = to_image(volume)
    try:
        with replacing(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=True)
            data = form.find_voxel_data(temporary, volume.array_zyx.size)
            if data is not None:  # ITK reports no error when it writes NIfTI to a full disk
                check_voxel_data(temporary, data)
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
    """Copy a volume into a SimpleITK image of the array's type."""
    image = sitk.GetImageFromArray(volume.array_zyx)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image
