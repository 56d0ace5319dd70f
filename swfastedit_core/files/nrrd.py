"""NRRD (.nrrd): a text header up to a blank line, then the data."""

from __future__ import annotations

from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.compressed import GZIP, VoxelData
from swfastedit_core.files.text_header import read_text_header


def check_header(path: Path) -> None:
    """Refuse a header without a voxel spacing: ITK would take 1 mm.

    Raises
    ------
    UserError
        If there is no spacing, or the header has no end.
    """
    fields, _ = _read_header(path)
    if "spacings" not in fields and "space directions" not in fields:
        raise UserError(f"{path}: the header gives no voxel spacing (spacings or space directions)")


def find_voxel_data(path: Path, voxels: int) -> VoxelData | None:
    """Return where compressed voxel data lies; None for raw data, whose length ITK's reader checks itself.

    Raises
    ------
    UserError
        If the data lies in another file.
    """
    fields, offset = _read_header(path)
    if "data file" in fields or "datafile" in fields:
        raise UserError(f"{path}: its voxels lie in another file; expected one self-contained .nrrd")
    if fields.get("encoding", "").lower() not in ("gzip", "gz"):
        return None
    return VoxelData(offset, GZIP, None)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields by their names in lower case, and the length of the header in bytes."""
    with path.open("rb") as file:
        return read_text_header(file, path, separator=":", last=""), file.tell()
