"""The files of a report, and what they may replace."""

from __future__ import annotations

import json
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import require_writable

LESIONS, FIGURES, MIP, PAGE = "lesions.csv", "report.json", "mip.png", "report.html"
FILES = (FIGURES, LESIONS, MIP, PAGE)
PROGRAM = "swfastedit"  # in report.json, by which an older report is known as one of this program


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Check that a report can be written into a folder. An older report of this program is replaced.

    Parameters
    ----------
    folder
        Of the report.
    overwrite
        Whether other files may be replaced.

    Raises
    ------
    UserError
        If a file could not be written, or would replace one that is not of a report.
    """
    for name in FILES:
        require_writable(folder / name)
    present = [name for name in FILES if (folder / name).exists()]
    if present and not overwrite and not _holds_own_report(folder):
        raise UserError(
            f"{folder / present[0]}: the file exists and is not of a report of this program; choose another folder, or "
            "replace it with --overwrite"
        )


def _holds_own_report(folder: Path) -> bool:
    try:
        values = json.loads((folder / FIGURES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and str(values.get("program")).startswith(f"{PROGRAM} ")
