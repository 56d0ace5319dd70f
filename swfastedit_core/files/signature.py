"""What a file is, by its first bytes: the sentence for files that are not what their name says."""

from __future__ import annotations

import re
from pathlib import Path

from swfastedit_core.errors import UserError

SHOWN_BYTES = 512
DICOM_AT, DICOM = 128, b"DICM"
LFS = b"version https://git-lfs"
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
NIFTI_HEADERS = {(348).to_bytes(4, order) for order in ("little", "big")} | {
    (540).to_bytes(4, order) for order in ("little", "big")
}
# Formats that are images, by the ending that they should have.
IMAGES = {".nrrd": re.compile(rb"NRRD000"), ".mha": re.compile(rb"(?i)\s*(ObjectType|NDims|Comment)\s*[=:]")}


def wrong_kind(path: Path) -> str | None:
    """Say what a file is that is certainly no image and no weights; None for everything else.

    Returns
    -------
    str or None
        What it is and what to do, as the part of a message behind the file's name.
    """
    start = _start(path)
    if not start:
        return "the file is empty"
    if start.startswith(LFS):
        return "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "is a web page, perhaps the answer of a server that asks for a login; download the file again"
    if start.startswith(b"\x89HDF\r\n"):
        return "is an HDF5 file"
    if start.startswith(b"\x93NUMPY"):
        return "is a numpy array without a geometry; write it as an image with voxel spacing and orientation"
    return None


def require_no_other_file(path: Path) -> None:
    """Refuse a file that is certainly no volume, whatever its name is.

    Raises
    ------
    UserError
        With what the file is, and what to do.
    """
    start = _start(path)
    kind = wrong_kind(path)
    if kind is None and start[DICOM_AT:].startswith(DICOM):
        kind = "is a single DICOM file; first convert a series to one volume in SUV, an RTSTRUCT or SEG to a mask"
    if kind is None and start.startswith(ZIP):
        kind = "is a zip archive; unpack it first"
    if kind is not None:
        raise UserError(f"{path}: {kind}")


def require_image(path: Path, suffix: str) -> None:
    """Refuse an image of another format than its name promises.

    Parameters
    ----------
    path
        An existing file.
    suffix
        Of the format that its name promises.

    Raises
    ------
    UserError
        With what the file is, and what to do.
    """
    start = _start(path)
    kind = _other_image(start, suffix)
    if start.startswith(GZIP) and not suffix.startswith(".nii"):
        kind = "is compressed as a whole (gzip); unpack it first"
    if kind is not None:
        raise UserError(f"{path}: {kind}")


def describe_folder(path: Path) -> str:
    """Say what to do with a folder where a file is expected."""
    if holds_dicom(path):
        return "is a folder of DICOM files; convert the series to one volume in SUV first"
    return "is not a file, expected one volume"


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first three entries of a folder is a DICOM file."""
    return any(file.is_file() and _start(file)[DICOM_AT:].startswith(DICOM) for file in sorted(folder.iterdir())[:3])


def _other_image(start: bytes, suffix: str) -> str | None:
    own = suffix if not suffix.startswith(".nii") else ".nii"
    found = next((name for name, pattern in IMAGES.items() if pattern.match(start)), None)
    if start[:4] in NIFTI_HEADERS:
        found = ".nii"
    return f"is a {found} file by its first bytes; give its name that ending" if found not in (None, own) else None


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SHOWN_BYTES)
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror})") from error
