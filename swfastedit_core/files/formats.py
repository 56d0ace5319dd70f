"""The file formats, by the ending of the file name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import SimpleITK as sitk

from swfastedit_core.errors import UserError
from swfastedit_core.files import metaimage, nifti, nrrd
from swfastedit_core.files.header import ImageHeader
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.volume import Volume


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    suffix
        Ending of the file name, in lower case.
    read_header
        Reads the header and checks it. Takes the path, and which coordinates of a NIfTI file count.
    write
        Writes a volume. Takes the volume, the path and, by name, the program for the header.
    """

    suffix: str
    read_header: Callable[[Path, Form], ImageHeader]
    write: Callable[..., None]


def to_image(volume: Volume) -> sitk.Image:
    """Copy a volume into a SimpleITK image of the array's type."""
    image = sitk.GetImageFromArray(volume.array_zyx)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def _write_with_itk(
    unit_line: Callable[[str], tuple[float, bytes, bytes]], volume: Volume, path: Path, *, program: str
) -> None:
    """Write with ITK; a grid that was read from a file in another unit than mm keeps its unit."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's text is not the program's
    image = to_image(volume)
    image.SetMetaData(metaimage.PROGRAM, program)
    mm, line, before = unit_line(volume.geometry.unit)
    if mm == 1.0:
        sitk.WriteImage(image, str(path), useCompression=True)
        return
    image.SetSpacing([length / mm for length in image.GetSpacing()])
    image.SetOrigin([length / mm for length in image.GetOrigin()])
    sitk.WriteImage(image, str(path), useCompression=True)
    head, separator, rest = path.read_bytes().partition(b"\n" + before)
    path.write_bytes(head + b"\n" + line + separator.removeprefix(b"\n") + rest)


FORMATS = (
    Format(".mha", lambda path, _: metaimage.read_header(path), partial(_write_with_itk, metaimage.unit_line)),
    Format(".nii.gz", nifti.read_header, partial(nifti.write, compressed=True)),
    Format(".nii", nifti.read_header, partial(nifti.write, compressed=False)),
    Format(".nrrd", lambda path, _: nrrd.read_header(path), partial(_write_with_itk, nrrd.unit_line)),
)
SUFFIXES = tuple(form.suffix for form in FORMATS)


def require_utf8(path: Path) -> None:
    """Refuse a name that ITK cannot handle: SimpleITK would abort the process.

    Raises
    ------
    UserError
        If the name is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{str(path)!a}: the name is not UTF-8; rename the file or folder") from error


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
    require_utf8(path)
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: unknown file type, expected one of {' '.join(SUFFIXES)}, in lower case")
    return FORMATS[SUFFIXES.index(suffix)]
