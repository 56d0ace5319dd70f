"""Atomic writes: a target file is complete or unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME_KEPT = 40  # characters of the target's name in the temporary name, which is limited to 255 bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of a target; at the end of the context this file replaces the target.

    Folders are made. If the block raises, the temporary file is removed and an older target is not changed.

    Raises
    ------
    OSError
        If the folder cannot be made, or the file cannot be renamed.
    """
    unique = f"{os.getpid()}-{os.urandom(4).hex()}"  # containers that share a folder are all process 1
    temporary = path.with_name(f".{unique}.{path.name[-NAME_KEPT:]}")  # writers choose the format by the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, pattern: str) -> None:
    """Remove the temporary files of writers that were killed.

    Parameters
    ----------
    folder
        Folder of the targets. No other process may write there.
    pattern
        Pattern of the targets' names, such as ``*.state``.
    """
    for path in folder.glob(f".[0-9]*.{pattern}"):
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file's content is on disk: after a power failure the name could exist without the content."""
    number = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems do not support it
            os.fsync(number)
    finally:
        os.close(number)
