"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME_KEPT = 40  # characters of the target's name in the temporary one, which may not outgrow 255 bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a target; what was written there takes the target's place at the end.

    Folders are made. Where the block raises, the temporary file goes and an older target stays as it was.

    Raises
    ------
    OSError
        If the folder cannot be made or the file not be renamed.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name[-NAME_KEPT:]}")  # writers choose the format by the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, pattern: str) -> None:
    """Remove what writers left that were killed while they wrote.

    Parameters
    ----------
    folder
        Of the targets; nobody else writes there.
    pattern
        Of their names, such as ``*.state``.
    """
    for path in folder.glob(f".[0-9]*.{pattern}"):
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file's content is on disk: after a power failure its name could be there and the content not."""
    number = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot
            os.fsync(number)
    finally:
        os.close(number)
