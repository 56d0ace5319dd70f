"""The platform's limits on a container, and the folders that it mounts."""

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
INPUT_TARGET = "/mnt/case"  # /input is a symlink to it
MODEL_MOUNT = "/opt/ml"  # an uploaded model lies in its folder `model`
REPORTS = "/mnt/notes"  # where the first process of the container writes memory and processes
MAX_PROCESSES = 256


@dataclass(frozen=True)
class Limits:
    """The limits on a container.

    Attributes
    ----------
    seconds
        Wall time of one case, from the creation of the container or from the call.
    memory_bytes
        Memory of the instance. Half of it may be shared memory; the data segment of a process may have 1 GiB less.
    start_seconds
        Wall time from the creation of a server until its health is 200.
    """

    seconds: float
    memory_bytes: int
    start_seconds: float = 300.0

    @property
    def shared_bytes(self) -> int:
        """Size of /dev/shm in bytes."""
        return self.memory_bytes // 2

    @property
    def data_bytes(self) -> int:
        """Data segment of a process in bytes: its heap and its private writable maps."""
        return max(self.memory_bytes - GIB, self.memory_bytes // 2)

    def flags(self) -> list[str]:
        """Return the flags of Docker and podman."""
        memory = self.memory_bytes
        # Some engines drop their defaults of nofile and nproc as soon as one ulimit is given.
        limits = (f"data={self.data_bytes}", "nofile=1024:1024", "nproc=4096:4096")
        return [
            "--network=none", f"--memory={memory}", f"--memory-swap={memory}", f"--shm-size={self.shared_bytes}",
            *(f"--ulimit={limit}" for limit in limits),
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--pids-limit={MAX_PROCESSES}",
            "--env=LOG_LEVEL=INFO", "--env=PYTHONUNBUFFERED=1",
        ]  # fmt: skip

    def __str__(self) -> str:
        sizes = (
            f"{self.memory_bytes / GIB:.3g} GiB, {self.shared_bytes / GIB:.3g} shared, {self.data_bytes / GIB:.3g} data"
        )
        return f"{sizes}; {self.seconds:g} s a case"


def check_limits(found: Mapping[str, object], limits: Limits) -> list[Check]:
    """Compare what `probe.read_limits` found in a container with the limits: an engine may ignore a flag."""
    expected: dict[str, object] = {
        "/input": f"link to {INPUT_TARGET}, 755, read only, empty",
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
        "processes": MAX_PROCESSES,
        "LOG_LEVEL": "INFO",
    }
    return [
        Check(f"limit: {name}", found.get(name) == value, f"{found.get(name)}, expected {value}")
        for name, value in expected.items()
    ]


@dataclass
class Folders:
    """The folders on the host that a container mounts.

    Attributes
    ----------
    input, output, tmp, model
        Mounted where /input points, and at /output, /tmp and /opt/ml.
    reports
        For what the first process of the container reports.
    """

    input: Path
    output: Path
    tmp: Path
    reports: Path
    model: Path

    @classmethod
    def create(cls, top: Path) -> Folders:
        """Create empty folders: all users may read /input and /opt/ml, and write to the others."""
        folders = cls(*(top / name for name in ("input", "output", "tmp", "reports", "model")))
        for folder in (folders.input, folders.output, folders.tmp, folders.reports, folders.model):
            folder.mkdir()
            folder.chmod(0o755 if folder in (folders.input, folders.model) else 0o777)
        return folders

    def clear_input(self) -> None:
        """Empty the input folder between two calls of a server."""
        for path in self.input.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def unpack_model(self, tarball: Path) -> None:
        """Unpack a model to /opt/ml/model; the files keep the modes that they have in the tarball."""
        target = self.model / "model"
        target.mkdir()
        subprocess.run(["tar", "-xpzf", str(tarball), "-C", str(target)], check=True)
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(0o755)

    def flags(self) -> list[str]:
        """Return the flags of Docker and podman.

        /opt/ml is mounted without a model, too. It hides what the image has there, as on the platform.
        """
        return [
            f"--volume={self.input}:{INPUT_TARGET}:ro",
            f"--volume={self.output}:/output",
            f"--volume={self.tmp}:/tmp",
            f"--volume={self.reports}:{REPORTS}",
            f"--volume={self.model}:{MODEL_MOUNT}:ro",
        ]


@contextmanager
def temporary_folders() -> Iterator[Folders]:
    """Create folders; remove them at the end, as far as this user may."""
    top = Path(tempfile.mkdtemp(prefix="trial."))
    top.chmod(0o755)
    try:
        yield Folders.create(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def default_memory(platform_gib: int = 16) -> int:
    """Return the memory in bytes of the platform's smallest instance, or of this machine less 1 GiB if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(platform_gib * GIB, (machine - GIB) // MIB * MIB)
