"""The file formats, by the ending of the file name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files import metaimage, nifti, nrrd
from swfastedit_core.files.compressed import VoxelData


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    suffix
        Ending of the file name, in lower case, as ITK wants it.
    check_header
        Refuses numbers in the header that ITK would crash on or replace by others without a message. It is called
        before ITK sees the file.
    find_voxel_data
        Returns where the voxel data lies and how long it is; None where the header does not say. Takes the path and
        the number of voxels. Refuses data in another file.
    """

    suffix: str
    check_header: Callable[[Path], None]
    find_voxel_data: Callable[[Path, int], VoxelData | None]


FORMATS = (
    Format(".mha", metaimage.check_header, metaimage.find_voxel_data),
    Format(".nii.gz", nifti.check_header, nifti.find_voxel_data),
    Format(".nii", nifti.check_header, nifti.find_voxel_data),
    Format(".nrrd", nrrd.check_header, nrrd.find_voxel_data),
)
SUFFIXES = tuple(form.suffix for form in FORMATS)


def suffix_of(path: Path) -> str | None:
    """Return which of ``SUFFIXES`` the file name ends with; None if none."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def format_of(path: Path) -> Format:
    """Return the format of a file.

    Raises
    ------
    UserError
        If the ending is unknown, or ITK cannot handle the name.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # SimpleITK would abort the process
        raise UserError(f"{str(path)!a}: the name is not UTF-8; rename the file or folder") from error
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: unknown file type, expected one of {' '.join(SUFFIXES)}, in lower case")
    return FORMATS[SUFFIXES.index(suffix)]
