"""The header of an image file of any format, checked before any voxel is read."""

from __future__ import annotations

import os
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import format_of, require_utf8
from swfastedit_core.files.header import ImageHeader
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.files.signature import describe_folder, require_image, require_no_other_file
from swfastedit_core.volume import Geometry


def read_geometry(path: str | Path, *, form: Form = "auto") -> Geometry:
    """Read and check the grid of a PET or a CT, without its voxels.

    Parameters
    ----------
    path, form
        As `read_volume`.

    Raises
    ------
    UserError
        As `read_volume`, for what the header shows.
    """
    return read_header(Path(path), form=form).geometry


def read_header(path: Path, *, form: Form = "auto") -> ImageHeader:
    """Read and check the header of an image file.

    Raises
    ------
    UserError
        As `read_volume`, for what the header shows.
    """
    require_utf8(path)
    try:
        exists = path.exists()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be reached ({error.strerror})") from error
    if not exists:
        raise UserError(f"{path}: no such file")
    if path.is_dir():
        raise UserError(f"{path}: {describe_folder(path)}")
    if not path.is_file():
        raise UserError(f"{path}: is not a file, expected one volume")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read the file")
    require_no_other_file(path)
    kind = format_of(path)
    require_image(path, kind.suffix)
    return kind.read_header(path, form)
