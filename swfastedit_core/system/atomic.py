"""Atomic writes: a target file is complete or unchanged."""

from __future__ import annotations

import fcntl
import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED_SECONDS = 60.0
NAME_KEPT = 40  # characters of the target's name in the temporary name, which is limited to 255 bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of a target; at the end of the context this file replaces the target.

    Folders are made. If the block raises, the temporary file is removed and an older target is not changed. Temporary
    files that killed writers of the same target left are removed; a lock tells them from those of running writers.

    Raises
    ------
    OSError
        If the folder cannot be made, or the file cannot be renamed.
    """
    unique = f"{os.getpid()}-{os.urandom(4).hex()}"  # containers that share a folder are all process 1
    temporary = path.with_name(f".{unique}.{path.name[-NAME_KEPT:]}")  # writers choose the format by the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with _locked(temporary):
            yield temporary
            _to_disk(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make a file and hold its lock, where the file system has locks. The system releases it when the process ends."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of a target whose writers have ended.

    A file younger than a minute stays: its writer may be about to lock it.
    """
    name = glob.escape(path.name[-NAME_KEPT:])
    for abandoned in path.parent.glob(f".[0-9]*-{'[0-9a-f]' * 8}.{name}"):
        with suppress(OSError):
            if time.time() - abandoned.stat().st_mtime < ABANDONED_SECONDS:
                continue
            number = os.open(abandoned, os.O_RDWR)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                abandoned.unlink()
            finally:
                os.close(number)


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
