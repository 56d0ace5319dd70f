"""The lock of a run's folder: one training process uses it at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lightning_fabric import Fabric

from swfastedit_core.errors import UserError

LOCK = "lock"


@contextmanager
def locked_run(folder: Path, fabric: Fabric, *, say: Callable[[str], None]) -> Iterator[None]:
    """Lock the folder of a run, while the block runs; the lock of a process that is killed ends with it.

    If there are several processes, the first one holds the lock for all. A POSIX record lock is taken: forked processes
    do not inherit it, and network file systems know it between machines.

    Parameters
    ----------
    folder
        Folder of the run; it exists.
    fabric
        The processes of the run.
    say
        Takes a line if the file system has no locks: the run goes on without one.

    Raises
    ------
    UserError
        In all processes, if another run holds the lock.
    """
    file, refusal = _lock(folder, say) if fabric.is_global_zero else (None, None)
    refusal = fabric.broadcast(refusal)
    try:
        if refusal is not None:
            raise UserError(refusal)
        yield
    finally:
        if file is not None:
            with suppress(OSError), file:
                file.truncate(0)


def _lock(folder: Path, say: Callable[[str], None]) -> tuple[TextIO | None, str | None]:
    """Lock the file in a folder and write this process into it; return the file, or why the run is refused."""
    path = folder / LOCK
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        say(_no_lock(path, error))
        return None, None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either tells that another process holds it
        with file:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
        return None, f"{folder}: {holder} trains in this folder; wait for it or end it, or choose another --output"
    except OSError as error:
        file.close()
        say(_no_lock(path, error))
        return None, None
    with suppress(OSError):  # the disk is full: only the text is missing
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    return file, None


def _no_lock(path: Path, error: OSError) -> str:
    return f"notice: {path}: cannot be locked ({error.strerror}); make sure that no other process trains in this folder"
