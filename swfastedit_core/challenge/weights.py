"""Which weights a container uses where none are named."""

from __future__ import annotations

import os
from pathlib import Path

from swfastedit_core.checkpoint import SUFFIXES
from swfastedit_core.errors import UserError

MODEL = Path("/opt/ml/model")  # the platform unpacks an uploaded model tarball here


def default_weights(project: Path, model: Path = MODEL) -> Path:
    """Return the folder with the uploaded model's weights; the project's where nothing was uploaded.

    Both may have them in one folder below the top one, as tarballs often do.

    Raises
    ------
    UserError
        If a folder holds something, but no weights, or weights in several folders, or cannot be read. Other weights
        are not taken instead: the masks would be those of the wrong network.
    """
    return _weights_below(model) or _weights_below(project / "weights") or project / "weights"


def _weights_below(top: Path) -> Path | None:
    """Return the one folder with weights; None where there is no file at all."""
    files = [path for path in _files(top) if not any(part.startswith(".") for part in path.relative_to(top).parts)]
    folders = sorted({path.parent for path in files if path.suffix in SUFFIXES})
    if files and len(folders) != 1:
        names = ", ".join(str(path.relative_to(top)) for path in sorted(files)[:5])
        raise UserError(f"{top}: found {names}, expected weights ({' or '.join(SUFFIXES)}) in one folder")
    return folders[0] if files else None


def _files(folder: Path) -> list[Path]:
    """List the files below a folder; none where there is no such folder."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise UserError(f"{error.filename}: cannot be read ({error.strerror}), expected weights there")

    return [Path(top) / name for top, _, names in os.walk(folder, onerror=refuse) for name in names]
