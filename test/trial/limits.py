"""What the platform allows a container: memory, time, and four folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
CASE = "/mnt/case"  # /input is a symlink to it
NOTES = "/mnt/notes"  # where the watcher leaves what it saw


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    Attributes
    ----------
    seconds
        Wall time of one case, from the container's creation or the call.
    memory_bytes
        Of the instance: half of it is shared memory, and one GiB less the data segment of a process.
    """

    seconds: float
    memory_bytes: int

    def flags(self) -> list[str]:
        """Return the engine's flags."""
        memory = self.memory_bytes
        # nofile and nproc are repeated because some engines forget their defaults as soon as one limit is given.
        limits = (f"data={max(memory - GIB, memory // 2)}", "nofile=1024:1024", "nproc=4096:4096")
        return [
            "--network=none", f"--memory={memory}", f"--memory-swap={memory}", f"--shm-size={memory // 2}",
            *(f"--ulimit={limit}" for limit in limits),
            "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=256",
            "--env=LOG_LEVEL=INFO", "--env=PYTHONUNBUFFERED=1",
        ]  # fmt: skip


@dataclass
class Folders:
    """What is mounted; `make` gives them as the platform does."""

    case: Path
    output: Path
    scratch: Path
    notes: Path

    @classmethod
    def make(cls, top: Path) -> Folders:
        """Make the folders; /input 0755, /output and /tmp empty and open to everybody."""
        folders = cls(*(top / name for name in ("case", "output", "scratch", "notes")))
        for folder in (folders.case, folders.output, folders.scratch, folders.notes):
            folder.mkdir()
            folder.chmod(0o755 if folder == folders.case else 0o777)
        return folders

    def clear(self) -> None:
        """Empty input and output, as between two cases of one container."""
        for folder in (self.case, self.output):
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def mounts(self) -> list[str]:
        """Return the engine's flags."""
        return [
            f"--volume={self.case}:{CASE}:ro",
            f"--volume={self.output}:/output",
            f"--volume={self.scratch}:/tmp",
            f"--volume={self.notes}:{NOTES}",
        ]


@contextmanager
def temporary_folders() -> Iterator[Folders]:
    """Give fresh folders and remove them, whoever owns what was written there."""
    top = Path(tempfile.mkdtemp(prefix="trial."))
    top.chmod(0o755)
    try:
        yield Folders.make(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def default_memory(platform_gib: int = 16) -> int:
    """Return the platform's smallest instance in bytes, or what this machine has less one GiB, if that is less."""
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(platform_gib * GIB, here - GIB)
