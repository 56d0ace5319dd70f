"""Folders of files that are there whole or not at all, whenever the program is killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path

UNFINISHED = re.compile(r"\.[0-9a-f]+\.[0-9a-f]{8}\.partial")


def put_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder that appears when all of them are on disk; one that is there is kept as it is.

    Parameters
    ----------
    folder
        Its name consists of hexadecimal digits. Folders above it are made.
    files
        Contents by name.

    Raises
    ------
    OSError
        If something cannot be written; nothing new is there then.
    """
    unfinished = _beside(folder)
    try:
        unfinished.mkdir(parents=True)
        for name, content in files.items():
            with (unfinished / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or the folder might outlive a power failure and its files not
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, all at once, if it is there.

    Raises
    ------
    OSError
        If it cannot be moved out of the way.
    """
    if folder.exists():
        gone = _beside(folder)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def remove_unfinished(parent: Path) -> None:
    """Remove what killed processes left of the above. No other process may be at it now."""
    for path in parent.glob(".*.partial"):
        if UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path) -> Path:
    """Return a name that nobody else has."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
