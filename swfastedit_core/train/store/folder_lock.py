"""The lock of a folder of cases: one run writes them at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from swfastedit_core.errors import UserError


@contextmanager
def locked_folder(
    folder: Path, *, say: Callable[[str], None], others: str = "another run prepares cases"
) -> Iterator[bool]:
    """Make a folder if it is missing, and hold its lock; wait while another run holds it.

    Parameters
    ----------
    folder
        Folder of the cases.
    say
        Takes a line if another run holds the lock.
    others
        What other runs do there, for this line.

    Yields
    ------
    bool
        False where the file system has no locks. Two runs may write the same case there; the last one is kept.

    Raises
    ------
    UserError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise UserError(f"{folder}: cases cannot be written there ({error.strerror}); choose another") from error
    with file:
        yield _lock(file, lambda: say(f"{others} in {folder}; waiting for it"))


def _lock(file: TextIO, say_wait: Callable[[], None]) -> bool:
    """Wait for the lock on a file; it is held until the file is closed or this process ends."""
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
