"""Containers under the platform's limits: no network, no rights, a symlink for /input."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trial.limits import CASE, NOTES, Folders, Limits

PEAK = "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null || true"
# The first process of the container, as the platform's shim is: starts the entrypoint, then looks who is still there.
WATCHER = f"""
"$@"
code=$?
for process in /proc/[0-9]*; do
    [ "$process" = "/proc/$$" ] && continue
    line=$(tr '\\0' ' ' <"$process/cmdline" 2>/dev/null)
    [ -z "$line" ] || echo "$line" >>{NOTES}/left
done
({PEAK}) >{NOTES}/peak
exit $code
"""


@dataclass(frozen=True)
class Image:
    """What the engine says of an image."""

    name: str
    user: str
    architecture: str
    labels: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]

    @property
    def options(self) -> list[str]:
        """The options of process.py that are baked into the image."""
        return self.environment.get("SWFASTEDIT_OPTIONS", "").split()


@dataclass
class Outcome:
    """What a container, or one call of it, left behind.

    Attributes
    ----------
    code
        Exit code, or HTTP status; None where the time was up before there was one.
    lines
        Seconds since the start and bytes of each line of stdout.
    stderr
        As written.
    seconds
        Until the end.
    left
        Command lines of processes that outlived the entrypoint.
    peak_bytes
        Most memory in use, file cache included, where the engine's control group tells.
    """

    code: int | None
    lines: list[tuple[float, bytes]] = field(default_factory=list)
    stderr: bytes = b""
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    peak_bytes: int | None = None

    @property
    def stdout(self) -> bytes:
        """All of it."""
        return b"".join(line for _, line in self.lines)


class Engine:
    """Docker or podman."""

    def __init__(self, command: str, *, gpu: bool | None = None) -> None:
        self.command = command
        self._gpu = shutil.which("nvidia-smi") is not None if gpu is None else gpu

    def __call__(self, *arguments: str, **more: Any) -> str:
        """Run a command of the engine; return its output, raise where it fails."""
        done = subprocess.run([self.command, *arguments], capture_output=True, check=False, **more)
        if done.returncode:
            error = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"{self.command} {arguments[0]}: {error or f'exit code {done.returncode}'}")
        return done.stdout.decode(errors="replace")

    def inspect(self, name: str) -> Image:
        """Describe an image."""
        (about,) = json.loads(self("image", "inspect", name))
        config = about["Config"]
        environment = dict(item.split("=", 1) for item in config.get("Env") or [])
        return Image(
            name,
            user=config.get("User") or "",
            architecture=f"{about['Os']}/{about['Architecture']}",
            labels=config.get("Labels") or {},
            entrypoint=config.get("Entrypoint") or [],
            command=config.get("Cmd") or [],
            environment=environment,
        )

    def gpu_flags(self) -> list[str]:
        """Return the flags that hand a GPU through, where the machine has one."""
        if not self._gpu:
            return []
        return ["--device=nvidia.com/gpu=all"] if self.command.endswith("podman") else ["--gpus=all"]

    def empty(self, image: Image, folders: Folders) -> None:
        """Remove what containers wrote; the files are theirs, and not everybody may remove them from outside."""
        command = f"rm -rf /output/* /tmp/* {NOTES}/*"
        self("run", "--rm", "--network=none", *folders.mounts(), "--entrypoint=sh", image.name, "-c", command)

    def ask(self, image: Image, *command: str) -> str:
        """Run one program of the image, without limits but without network; return its output."""
        entrypoint, *rest = command
        return self("run", "--rm", "--network=none", f"--entrypoint={entrypoint}", image.name, *rest)

    @contextmanager
    def created(
        self,
        image: Image,
        folders: Folders,
        limits: Limits,
        *,
        arguments: Sequence[str] = (),
        watched: bool = False,
        model: Path | None = None,
    ) -> Iterator[str]:
        """Create a container that is ready to start; give its id, and remove it at the end."""
        program = [*image.entrypoint, *(arguments or image.command)]
        if watched:
            program = ["sh", "-c", WATCHER, "watcher", *program]
        flags = [*limits.flags(), *folders.mounts(), *self.gpu_flags()]
        if model is not None:
            flags.append(f"--volume={model.resolve()}:/opt/ml/model:ro")
        entrypoint = program[0]
        container = self("create", *flags, f"--entrypoint={entrypoint}", image.name, *program[1:]).strip()
        try:
            self("cp", "-", f"{container}:/", input=_link("input", CASE))
            yield container
        finally:
            subprocess.run([self.command, "rm", "--force", container], capture_output=True, check=False)

    def run(
        self,
        image: Image,
        folders: Folders,
        limits: Limits,
        *,
        arguments: Sequence[str] = (),
        model: Path | None = None,
    ) -> Outcome:
        """Start the container, wait for its end; kill it when its time is up."""
        begin = time.monotonic()
        with self.created(image, folders, limits, arguments=arguments, watched=True, model=model) as container:
            attached = Attached(self, container, begin)
            code = attached.wait(limits.seconds - (time.monotonic() - begin))
            if code is None:
                subprocess.run([self.command, "kill", container], capture_output=True, check=False)
            seconds = time.monotonic() - begin
            attached.finish()
        return Outcome(
            code,
            attached.lines,
            b"".join(line for _, line in attached.errors),
            seconds,
            _lines(folders.notes / "left"),
            next((int(line) for line in _lines(folders.notes / "peak")), None),
        )


class Attached:
    """A started container with both its streams read, line by line with the time."""

    def __init__(self, engine: Engine, container: str, begin: float) -> None:
        self.lines: list[tuple[float, bytes]] = []
        self.errors: list[tuple[float, bytes]] = []
        self._begin = begin
        self._process = subprocess.Popen(
            [engine.command, "start", "--attach", container], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        pairs = ((self._process.stdout, self.lines), (self._process.stderr, self.errors))
        self._threads = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[bytes], lines: list[tuple[float, bytes]]) -> None:
        for line in stream:
            lines.append((time.monotonic() - self._begin, line))

    def wait(self, seconds: float) -> int | None:
        """Return the exit code; None where it does not end in time."""
        try:
            return self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return None

    def finish(self) -> None:
        """Read what is left in the streams."""
        self.wait(30.0)
        for thread in self._threads:
            thread.join(5.0)


def _link(name: str, target: str) -> bytes:
    """Return a tar archive with one symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return buffer.getvalue()


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
