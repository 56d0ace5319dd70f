"""The real program in child processes, for `bench.reliability`: starts, a small scan, and a server with a client."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.files.write import write_volume
from swfastedit_core.volume import Geometry, Volume

ROOT = Path(__file__).resolve().parents[1]
PROCESS = (sys.executable, str(ROOT / "process.py"))
TEST_SCAN = ROOT / "test/input/images/pet/phantom_33_0000.mha"
START_SECONDS = 120.0
MASKS = Path("images/automated-petct-lesion-segmentation")


class TrialError(Exception):
    """The program did not do what it must."""


def require(condition: object, words: str) -> None:
    """Raise `TrialError` unless a condition holds."""
    if not condition:
        raise TrialError(words)


@dataclass(frozen=True)
class Ended:
    """A program that has ended: exit code (negative: the signal), streams, wall time."""

    code: int
    out: str
    err: str
    seconds: float

    def require_line(self, *words: str, code: int = 1) -> None:
        """Require an exit code and one line on standard error that holds the words."""
        what = f"exit code {self.code}, standard error: {self.err[-300:]!r}"
        require(self.code == code and self.err.count("\n") == 1, what)
        require(all(word in self.err for word in words), what)


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child process, in which the package is found from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}


def start(command: Sequence[object], *, cwd: Path = ROOT, more: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a program with pipes for its streams; `more` are variables of its environment."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def finish(process: subprocess.Popen[str], *, seconds: float = START_SECONDS) -> Ended:
    """Wait for the end of a program; one that does not end in time fails the trial."""
    begin = time.monotonic()
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise TrialError(f"has not ended after {seconds:.0f} s") from error
    return Ended(process.returncode, out, err, time.monotonic() - begin)


def call(command: Sequence[object], *, cwd: Path = ROOT, more: dict[str, str] | None = None) -> Ended:
    """Run a program to its end."""
    return finish(start(command, cwd=cwd, more=more))


def limited(limit: str, command: Sequence[object]) -> list[object]:
    """Return a command under a limit of the shell, such as ``-v 1000000``."""
    return ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *command]


def write_scan(path: Path) -> Path:
    """Write a small warm body with a hot ball; it takes some windows."""
    z, y, x = np.indices((30, 36, 40))
    body = ((np.abs(x - 20) < 15) & (np.abs(y - 18) < 12)).astype(np.float32)
    body += 8 * ((x - 14) ** 2 + (y - 18) ** 2 + (z - 15) ** 2 < 20)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(body.astype(np.float32), Geometry((40, 36, 30), (4.0, 4.0, 4.5))), path)
    return path


class Server:
    """A server of the method `invoke`, with a small scan in its input folder."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        self.output.mkdir(parents=True)
        write_scan(folder / "input/images/pet/scan.mha")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [*PROCESS, "--api-method", "invoke", "--port", self.port, "--device", "cpu", "--quiet"]
        command += ["--input", folder / "input", "--output", self.output]
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=environment(), stdout=self._log, stderr=self._log
        )

    def ask(self, method: str, path: str, *, seconds: float = 600.0) -> tuple[int, Any]:
        """Send a request; return status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until it is ready."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            require(self.process.poll() is None, f"the server ended with {self.process.returncode}")
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise TrialError("the server was not ready in time")

    def segment(self) -> None:
        """Call it once; the answer must be a mask."""
        status, answer = self.ask("POST", "/invoke")
        require(status == 201, f"/invoke answered {status}: {answer}")

    def resident_mb(self) -> float:
        """Return the resident memory of the program and all processes that it started, in MB."""
        import psutil

        program = psutil.Process(self.process.pid)
        resident = [int(one.memory_info().rss) for one in (program, *program.children(recursive=True))]
        return sum(resident) / 1e6

    def end(self) -> int:
        """End it by SIGTERM; return the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -9
        finally:
            self._log.close()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Start a server; at the end it must stop at a signal with exit code 0 or 143."""
    server = Server(folder)
    try:
        server.wait()
        yield server
    except BaseException:
        server.end()
        raise
    code = server.end()
    require(code in (0, 143), f"the server ended with {code} after SIGTERM")
