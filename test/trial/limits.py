"""What the platform allows a container: memory, time, and a few folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trial.image import Check

MIB, GIB = 2**20, 2**30
CASE = "/mnt/case"  # /input is a symlink to it
MODEL = "/opt/ml"  # with the uploaded model in its folder `model`, if there is one
NOTES = "/mnt/notes"  # where the watcher leaves what it saw
PROCESSES = 256


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    Attributes
    ----------
    seconds
        Wall time of one case, from the container's creation or the call.
    memory_bytes
        Of the instance: half of it is shared memory, and one GiB less the data segment of a process.
    start_seconds
        Until a container answers that it is ready for calls.
    """

    seconds: float
    memory_bytes: int
    start_seconds: float = 300.0

    @property
    def shared_bytes(self) -> int:
        """Size of /dev/shm."""
        return self.memory_bytes // 2

    @property
    def data_bytes(self) -> int:
        """Of a process: its heap and its private writable maps."""
        return max(self.memory_bytes - GIB, self.memory_bytes // 2)

    def flags(self) -> list[str]:
        """Return the engine's flags."""
        memory = self.memory_bytes
        # nofile and nproc are repeated because some engines forget their defaults as soon as one limit is given.
        limits = (f"data={self.data_bytes}", "nofile=1024:1024", "nproc=4096:4096")
        return [
            "--network=none", f"--memory={memory}", f"--memory-swap={memory}", f"--shm-size={self.shared_bytes}",
            *(f"--ulimit={limit}" for limit in limits),
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--pids-limit={PROCESSES}",
            "--env=LOG_LEVEL=INFO", "--env=PYTHONUNBUFFERED=1",
        ]  # fmt: skip

    def __str__(self) -> str:
        sizes = (
            f"{self.memory_bytes / GIB:.3g} GiB, {self.shared_bytes / GIB:.3g} shared, {self.data_bytes / GIB:.3g} data"
        )
        return f"{sizes}; {self.seconds:g} s a case"


def judge_limits(seen: Mapping[str, object], limits: Limits) -> list[Check]:
    """Hold what a container saw (`probe.seen`) against what it was to be given, so that no limit is only asked for."""
    wanted: dict[str, object] = {
        "/input": f"link to {CASE}, 755, read only, empty",
        "/output": "777, writable, empty",
        "/tmp": "777, writable, empty",
        "/opt/ml": "755, read only, empty",
        "network": ["lo"],
        "capabilities": [0, 0],
        "no new privileges": 1,
        "memory": limits.memory_bytes,
        "memory and swap": limits.memory_bytes,
        "shared memory": limits.shared_bytes,
        "data segment": limits.data_bytes,
        "processes": PROCESSES,
        "LOG_LEVEL": "INFO",
    }
    return [
        Check(f"limit: {name}", seen.get(name) == value, f"{seen.get(name)}, expected {value}")
        for name, value in wanted.items()
    ]


@dataclass
class Folders:
    """What is mounted; `make` gives them as the platform does."""

    case: Path
    output: Path
    scratch: Path
    notes: Path
    model: Path

    @classmethod
    def make(cls, top: Path) -> Folders:
        """Make the folders, all empty; /output and /tmp open to everybody, /input and /opt/ml to readers."""
        folders = cls(*(top / name for name in ("case", "output", "scratch", "notes", "model")))
        for folder in (folders.case, folders.output, folders.scratch, folders.notes, folders.model):
            folder.mkdir()
            folder.chmod(0o755 if folder in (folders.case, folders.model) else 0o777)
        return folders

    def clear_case(self) -> None:
        """Empty the input, as between two cases of one container."""
        for path in self.case.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def unpack_model(self, tarball: Path) -> None:
        """Put an uploaded model where the platform does, with the tarball's own modes."""
        target = self.model / "model"
        target.mkdir()
        subprocess.run(["tar", "-xpzf", str(tarball), "-C", str(target)], check=True)
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(0o755)

    def mounts(self) -> list[str]:
        """Return the engine's flags; without an upload /opt/ml is there as well, and hides what an image has there."""
        return [
            f"--volume={self.case}:{CASE}:ro",
            f"--volume={self.output}:/output",
            f"--volume={self.scratch}:/tmp",
            f"--volume={self.notes}:{NOTES}",
            f"--volume={self.model}:{MODEL}:ro",
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
    return min(platform_gib * GIB, (here - GIB) // MIB * MIB)
