"""Docker and podman: run a container for one case under the platform's limits."""

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
from trial.limits import INPUT_TARGET, REPORTS, Folders, Limits

READ_PEAK = "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null"
# Prints number and command line of each process except the first one and this shell.
LIST_PROCESSES = """
for process in /proc/[0-9]*; do
    case $process in /proc/1 | "/proc/$$") continue ;; esac
    line=$(tr '\\0' ' ' <"$process/cmdline" 2>/dev/null)
    [ -z "$line" ] || echo "${process#/proc/} $line"
done
"""
# The first process of the container, as the platform's shim is. It runs the entrypoint, then reports memory and the
# remaining processes. Messages of the shell itself, such as "Killed", stay out of the program's stderr.
WATCHER = f"""
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
code=$?
{{ {READ_PEAK}; {LIST_PROCESSES} }} >{REPORTS}/end
exit $code
"""
TIMESTAMP = re.compile(r'^time="[^"]*" ')


@dataclass
class Outcome:
    """The result of a container, or of one call of a server.

    Attributes
    ----------
    code
        Exit code or HTTP status; None if there was none within the time limit.
    lines
        Lines of stdout, each with its seconds since the start.
    stderr
        Standard error.
    seconds
        Wall time.
    left_processes
        Command lines of processes that still ran after the entrypoint, or after the call.
    peak_bytes
        Peak memory with file cache, from the control group; None if it does not report one.
    changes
        Files that differ from the image as the engine lists them: a letter and a path.
    answer
        Body of the HTTP answer.
    server_exit_code
        Exit code of a server that has ended; None while it runs.
    """

    code: int | None
    lines: list[tuple[float, bytes]] = field(default_factory=list)
    stderr: bytes = b""
    seconds: float = 0.0
    left_processes: list[str] = field(default_factory=list)
    peak_bytes: int | None = None
    changes: frozenset[str] = frozenset()
    answer: bytes = b""
    server_exit_code: int | None = None

    @property
    def stdout(self) -> bytes:
        """All lines."""
        return b"".join(line for _, line in self.lines)

    @property
    def last_line(self) -> str:
        """The last line of stderr that is not empty: the platform shows it as the reason of a failure."""
        lines = [line for line in self.stderr.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Engine:
    """Docker or podman.

    Attributes
    ----------
    warnings
        Lines on stderr of commands that succeeded, each line once; for example that the kernel cannot limit swap.
    """

    def __init__(self, command: str, *, gpu: bool | None = None) -> None:
        self.command = command
        self.warnings: list[str] = []
        self._gpu = shutil.which("nvidia-smi") is not None if gpu is None else gpu

    def __call__(self, *arguments: str, **more: Any) -> str:
        """Run a command of the engine; return its stdout.

        Raises
        ------
        RuntimeError
            If the command fails.
        """
        done = subprocess.run([self.command, *arguments], capture_output=True, check=False, **more)
        error = done.stderr.decode(errors="replace").strip()
        if done.returncode:
            raise RuntimeError(f"{self.command} {arguments[0]}: {error or f'exit code {done.returncode}'}")
        for line in (TIMESTAMP.sub("", line) for line in error.splitlines()):
            if line not in self.warnings:
                self.warnings.append(line)
        output: str = done.stdout.decode(errors="replace")
        return output

    def inspect(self, name: str) -> Image:
        """Return the configuration of an image."""
        (about,) = json.loads(self("image", "inspect", name))
        return Image.from_config(name, f"{about['Os']}/{about['Architecture']}", about["Config"])

    def gpu_flags(self) -> list[str]:
        """Return the flags that give the container the GPUs of this machine; none without a GPU."""
        if not self._gpu:
            return []
        return ["--device=nvidia.com/gpu=all"] if self.command.endswith("podman") else ["--gpus=all"]

    def empty_folders(self, image: Image, folders: Folders, *paths: str) -> None:
        """Empty mounted folders from inside a container: this user may lack the right to remove the files."""
        arguments = (*paths, "-mindepth", "1", "-delete")
        self("run", "--rm", "--network=none", *folders.flags(), "--entrypoint=find", image.name, *arguments)

    def changes(self, container: str) -> frozenset[str]:
        """Return the files that differ from the image, outside of mounted folders."""
        return frozenset(self("diff", container).splitlines())

    @contextmanager
    def create(self, image: Image, folders: Folders, limits: Limits, program: Sequence[str]) -> Iterator[str]:
        """Create a container; yield its id; remove it at the end."""
        flags = [*limits.flags(), *folders.flags(), *self.gpu_flags()]
        container = self("create", *flags, f"--entrypoint={program[0]}", image.name, *program[1:]).strip()
        try:
            # Podman leaves a copy of the piped archive in the folder for temporary files.
            environment = {**os.environ, "TMPDIR": str(folders.input.parent)}
            self("cp", "-", f"{container}:/", input=_tar_of_link("input", INPUT_TARGET), env=environment)
            yield container
        finally:
            subprocess.run([self.command, "rm", "--force", container], capture_output=True, check=False)

    def run(self, image: Image, folders: Folders, limits: Limits, program: Sequence[str]) -> Outcome:
        """Run a container; kill it at the time limit."""
        begin = time.monotonic()
        with self.create(image, folders, limits, ["sh", "-c", WATCHER, "watcher", *program]) as container:
            running = RunningContainer(self, container, begin, folders.reports)
            code = running.wait(limits.seconds - (time.monotonic() - begin))
            if code is None:
                subprocess.run([self.command, "kill", container], capture_output=True, check=False)
            seconds = time.monotonic() - begin
            running.finish()
            changes = self.changes(container)
        report = folders.reports / "end"
        peak_bytes, left = parse_report(report.read_text(errors="replace") if report.is_file() else "")
        return Outcome(code, running.lines, running.stderr(), seconds, list(left.values()), peak_bytes, changes)


class RunningContainer:
    """A started container; threads read its streams and note the time of each line.

    Parameters
    ----------
    engine, container
        The engine, and the id of a created container.
    begin
        `time.monotonic` from which the seconds of the lines count.
    folder
        Working directory of the engine: podman leaves a file there when a container runs out of memory.
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
        """Return stderr from a line on."""
        return b"".join(line for _, line in self.errors[since:])

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the exit code, or None if the container still runs."""
        try:
            return self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return None

    def finish(self) -> None:
        """Wait until both streams are read to their ends."""
        self.wait(30.0)
        for thread in self._threads:
            thread.join(5.0)


def parse_report(text: str) -> tuple[int | None, dict[int, str]]:
    """Parse what `READ_PEAK` and `LIST_PROCESSES` print.

    Returns
    -------
    peak_bytes : int or None
        Peak memory; None if the control group does not report it.
    processes : dict
        Command lines by process number.
    """
    lines = text.splitlines()
    peak_bytes = int(lines.pop(0)) if lines and lines[0].isdigit() else None
    pairs = (line.split(" ", 1) for line in lines if " " in line)
    return peak_bytes, {int(number): command.strip() for number, command in pairs if number.isdigit()}


def _tar_of_link(name: str, target: str) -> bytes:
    """Return a tar archive that contains one symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return buffer.getvalue()
