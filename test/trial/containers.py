"""Containers under the platform's limits: no network, no rights, a symlink for /input."""

from __future__ import annotations

import io
import json
import os
import re
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

from trial.image import Image
from trial.limits import CASE, NOTES, Folders, Limits

PEAK = "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null"
# Number and command line of each process but the first and the shell that runs this.
OTHERS = """
for process in /proc/[0-9]*; do
    case $process in /proc/1 | "/proc/$$") continue ;; esac
    line=$(tr '\\0' ' ' <"$process/cmdline" 2>/dev/null)
    [ -z "$line" ] || echo "${process#/proc/} $line"
done
"""
# The first process of the container, as the platform's shim is: starts the entrypoint, then looks who is still there.
# What the shell itself has to say, such as "Killed", is not the program's.
WATCHER = f"""
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
code=$?
{{ {PEAK}; {OTHERS} }} >{NOTES}/end
exit $code
"""
TIMESTAMP = re.compile(r'^time="[^"]*" ')


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
        Command lines of processes that outlived the entrypoint, or the call that began them.
    peak_bytes
        Most memory in use, file cache included, where the engine's control group tells.
    changes
        The engine's list of what differs from the image: a letter and a path each.
    answer
        Body of a call's answer.
    ended
        Exit code of a server that is not there any more; None where it is.
    """

    code: int | None
    lines: list[tuple[float, bytes]] = field(default_factory=list)
    stderr: bytes = b""
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    peak_bytes: int | None = None
    changes: frozenset[str] = frozenset()
    answer: bytes = b""
    ended: int | None = None

    @property
    def stdout(self) -> bytes:
        """All of it."""
        return b"".join(line for _, line in self.lines)

    @property
    def last_line(self) -> str:
        """What the platform shows of a failure: the last line of stderr that is not empty."""
        lines = [line for line in self.stderr.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Engine:
    """Docker or podman.

    Attributes
    ----------
    warnings
        What its commands said on stderr although they succeeded, such as that the kernel cannot limit swap.
    """

    def __init__(self, command: str, *, gpu: bool | None = None) -> None:
        self.command = command
        self.warnings: list[str] = []
        self._gpu = shutil.which("nvidia-smi") is not None if gpu is None else gpu

    def __call__(self, *arguments: str, **more: Any) -> str:
        """Run a command of the engine; return its output, raise where it fails."""
        done = subprocess.run([self.command, *arguments], capture_output=True, check=False, **more)
        error = done.stderr.decode(errors="replace").strip()
        if done.returncode:
            raise RuntimeError(f"{self.command} {arguments[0]}: {error or f'exit code {done.returncode}'}")
        for line in (TIMESTAMP.sub("", line) for line in error.splitlines()):
            if line not in self.warnings:
                self.warnings.append(line)
        return done.stdout.decode(errors="replace")

    def inspect(self, name: str) -> Image:
        """Describe an image."""
        (about,) = json.loads(self("image", "inspect", name))
        return Image.of(name, f"{about['Os']}/{about['Architecture']}", about["Config"])

    def gpu_flags(self) -> list[str]:
        """Return the flags that hand a GPU through, where the machine has one."""
        if not self._gpu:
            return []
        return ["--device=nvidia.com/gpu=all"] if self.command.endswith("podman") else ["--gpus=all"]

    def empty(self, image: Image, folders: Folders, *paths: str) -> None:
        """Remove what containers wrote into mounted folders; not everybody may remove their files from outside."""
        program = ("find", *paths, "-mindepth", "1", "-delete")
        entrypoint, *rest = program
        self("run", "--rm", "--network=none", *folders.mounts(), f"--entrypoint={entrypoint}", image.name, *rest)

    def changes(self, container: str) -> frozenset[str]:
        """List what differs from the image, mounted folders apart."""
        return frozenset(self("diff", container).splitlines())

    @contextmanager
    def created(self, image: Image, folders: Folders, limits: Limits, program: Sequence[str]) -> Iterator[str]:
        """Create a container that is ready to start; give its id, and remove it at the end."""
        flags = [*limits.flags(), *folders.mounts(), *self.gpu_flags()]
        container = self("create", *flags, f"--entrypoint={program[0]}", image.name, *program[1:]).strip()
        try:
            # Podman leaves a copy of what is piped into it in the folder for temporary files.
            where = {**os.environ, "TMPDIR": str(folders.case.parent)}
            self("cp", "-", f"{container}:/", input=_link("input", CASE), env=where)
            yield container
        finally:
            subprocess.run([self.command, "rm", "--force", container], capture_output=True, check=False)

    def run(self, image: Image, folders: Folders, limits: Limits, program: Sequence[str]) -> Outcome:
        """Start the container, wait for its end; kill it when its time is up."""
        begin = time.monotonic()
        with self.created(image, folders, limits, ["sh", "-c", WATCHER, "watcher", *program]) as container:
            attached = Attached(self, container, begin, folders.notes)
            code = attached.wait(limits.seconds - (time.monotonic() - begin))
            if code is None:
                subprocess.run([self.command, "kill", container], capture_output=True, check=False)
            seconds = time.monotonic() - begin
            attached.finish()
            changes = self.changes(container)
        end = folders.notes / "end"
        peak_bytes, left = peak_and_others(end.read_text(errors="replace") if end.is_file() else "")
        return Outcome(code, attached.lines, attached.stderr(), seconds, list(left.values()), peak_bytes, changes)


class Attached:
    """A started container with both its streams read, line by line with the time.

    Podman leaves a file where it was started when a container runs out of memory: hence a folder for that.
    """

    def __init__(self, engine: Engine, container: str, begin: float, folder: Path) -> None:
        self.lines: list[tuple[float, bytes]] = []
        self.errors: list[tuple[float, bytes]] = []
        self._begin = begin
        command = str(Path(shutil.which(engine.command) or engine.command).absolute())
        self._process = subprocess.Popen(
            [command, "start", "--attach", container], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
        )
        pairs = ((self._process.stdout, self.lines), (self._process.stderr, self.errors))
        self._threads = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[bytes], lines: list[tuple[float, bytes]]) -> None:
        for line in stream:
            lines.append((time.monotonic() - self._begin, line))

    def stderr(self, since: int = 0) -> bytes:
        """Return what came on stderr, all of it or from a line on."""
        return b"".join(line for _, line in self.errors[since:])

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


def peak_and_others(text: str) -> tuple[int | None, dict[int, str]]:
    """Read what `PEAK` and `OTHERS` print: most memory in use, where it is told, and processes by their number."""
    lines = text.splitlines()
    peak_bytes = int(lines.pop(0)) if lines and lines[0].isdigit() else None
    pairs = (line.split(" ", 1) for line in lines if " " in line)
    return peak_bytes, {int(number): command.strip() for number, command in pairs if number.isdigit()}


def _link(name: str, target: str) -> bytes:
    """Return a tar archive with one symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return buffer.getvalue()
