"""Default weights of a container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from swfastedit_core.checkpoint import ENDINGS, SUFFIXES
from swfastedit_core.errors import UserError

MODEL = Path("/opt/ml/model")  # the platform unpacks an uploaded model tarball here
PACKAGE = Path(__file__).resolve().parents[1]


def home_of_weights(package: Path = PACKAGE) -> Path:
    """Return the folder that has the folder ``weights``: the installed package itself, otherwise the clone."""
    return package if (package / "weights").is_dir() else package.parent


def default_weights(project: Path, model: Path = MODEL) -> Path:
    """Return the folder with the weights of the uploaded model; without a model, the folder of the project.

    The weights may be in one folder below, as in many tarballs.

    Raises
    ------
    UserError
        If a folder has files but no weights, or weights in several folders, or cannot be read. Other weights are not
        used instead: the masks would come from the wrong network.
    """
    return _weights_below(model) or _weights_below(project / "weights") or project / "weights"


def require_clicks_taken(paths: Sequence[Path], clicks: Path) -> None:
    """Check the headers of weights for a network that takes clicks.

    Parameters
    ----------
    paths
        Checkpoints and folders of them.
    clicks
        The click file, for the message.

    Raises
    ------
    UserError
        If there is none, or the weights cannot be read.
    """
    from swfastedit_core.checkpoint import find_checkpoints, read_config

    files = find_checkpoints(paths, interactive=True).files
    if not any(read_config(file).channels.takes_clicks for file in files):
        names = ", ".join(map(str, files))
        raise UserError(f"{clicks}: the networks take no clicks ({names}); name interactive weights with --weights")


def _weights_below(top: Path) -> Path | None:
    """Return the folder with weights; None if there is no file at all."""
    files = [path for path in _files(top) if not any(part.startswith(".") for part in path.relative_to(top).parts)]
    folders = sorted({path.parent for path in files if path.suffix in SUFFIXES})
    if files and len(folders) != 1:
        names = ", ".join(str(path.relative_to(top)) for path in sorted(files)[:5])
        raise UserError(f"{top}: found {names}, expected weights ({ENDINGS}) in one folder")
    return folders[0] if files else None


def _files(folder: Path) -> list[Path]:
    """List the files below a folder; the list is empty if the folder does not exist."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise UserError(f"{error.filename}: cannot be read ({error.strerror}), expected weights there")

    return [Path(top) / name for top, _, names in os.walk(folder, onerror=refuse) for name in names]
