"""Atomic folders: all files of a folder exist or none, whenever the program is killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path

UNFINISHED = re.compile(r"\.[0-9a-f]+\.[0-9a-f]{8}\.partial")


def put_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files; it appears once all files are on disk. An existing folder is not changed.

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
    """Remove a folder at once, if it exists.

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
    """Remove unfinished folders of killed processes. No other process may write or remove folders meanwhile."""
    for path in parent.glob(".*.partial"):
        if UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path) -> Path:
    """Return a unique name."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
