"""The invoke method: a container that is started once and called again and again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trial.containers import OTHERS, PEAK, Attached, Engine, Outcome, peak_and_others
from trial.image import Image
from trial.limits import Folders, Limits

# Prints the status on the first line and the body behind it; 0 where the connection fails, "late" when the time is up.
# A server that listens on 127.0.0.1 only is as deaf to 127.0.0.2 as it would be to the platform.
CLIENT = """
import http.client, sys
method, path, seconds = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.2", 4743, timeout=float(seconds))
try:
    connection.request(method, path, b"" if method == "POST" else None)
    answer = connection.getresponse()
    status, body = answer.status, answer.read()
except TimeoutError:
    status, body = "late", b""
except (OSError, http.client.HTTPException) as error:
    status, body = 0, str(error).encode()
sys.stdout.buffer.write(f"{status}\\n".encode() + body)
"""
HEALTH_SECONDS = 10.0  # the platform's, for one question
STOP_SECONDS = 10.0
STREAM_SECONDS = 0.2  # the streams come by another way than the answer
LAST_SECONDS = 5.0  # until an engine has noticed the end of a container, or passed on the reason of a failure


class Server:
    """A container that answers calls; see `served`."""

    def __init__(self, engine: Engine, container: str, limits: Limits, attached: Attached, begin: float) -> None:
        self._engine, self._container, self._limits = engine, container, limits
        self._attached, self._begin = attached, begin
        self._others: set[int] = set()  # processes it has of its own before the first call

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it lives."""
        return self._attached.wait(0)

    def healthy(self) -> Outcome:
        """Ask for its health until it answers 200, has ended, or the time for its start is up."""
        status, body = None, b""
        while self.ended is None and (left := self._limits.start_seconds - (time.monotonic() - self._begin)) > 0:
            status, body = self._asked("GET", "/health", seconds=min(HEALTH_SECONDS, left))
            if status == 200:
                break
            time.sleep(0.2)
        _, others = self._inside()
        self._others = set(others)
        return self._outcome(status, body, begin=self._begin)

    def call(self) -> Outcome:
        """Let it work on what lies in the input folder; the outcome holds this call's part of the streams."""
        lines, errors, begin = len(self._attached.lines), len(self._attached.errors), time.monotonic()
        status, body = self._asked("POST", "/invoke", seconds=self._limits.seconds)
        if status is not None and status >= 400:
            self._await_line(errors)
        return self._outcome(status, body, begin=begin, lines=lines, errors=errors)

    def stop(self) -> Outcome:
        """Ask it to end, and wait for the platform's ten seconds."""
        begin = time.monotonic()
        self._quietly("kill", "--signal=TERM", self._container)
        code = self._attached.wait(STOP_SECONDS)
        seconds = time.monotonic() - begin
        if code is None:
            self._quietly("kill", self._container)
        self._attached.finish()
        return Outcome(code, self._attached.lines, self._attached.stderr(), seconds)

    def _outcome(self, status: int | None, body: bytes, *, begin: float, lines: int = 0, errors: int = 0) -> Outcome:
        """Put together what there is to say of a question; a server that has ended says it with its exit code."""
        seconds = time.monotonic() - begin
        ended = self._attached.wait(STREAM_SECONDS if status else LAST_SECONDS)
        if ended is not None:
            self._attached.finish()
        peak_bytes, others = self._inside()
        return Outcome(
            ended if not status and ended is not None else status,
            self._attached.lines[lines:],
            self._attached.stderr(errors),
            seconds,
            [command for number, command in others.items() if number not in self._others],
            peak_bytes,
            self._engine.changes(self._container),
            body,
            ended,
        )

    def _await_line(self, errors: int) -> None:
        """Wait for the reason of a failure on stderr."""
        begin = time.monotonic()
        while len(self._attached.errors) == errors and time.monotonic() - begin < LAST_SECONDS:
            time.sleep(0.05)
        time.sleep(STREAM_SECONDS)  # for a second line, which should not be

    def _asked(self, method: str, path: str, *, seconds: float) -> tuple[int | None, bytes]:
        """Send a request from inside the container, which has no network to the outside."""
        command = ["exec", self._container, "python", "-c", CLIENT, method, path, str(seconds)]
        done = self._quietly(*command, seconds=seconds + 10)
        status, _, body = done.partition(b"\n")
        return (int(status), body) if status.isdigit() else (None, done)

    def _inside(self) -> tuple[int | None, dict[int, str]]:
        """Look at memory and processes; at nothing where the container has ended."""
        return peak_and_others(
            self._quietly("exec", self._container, "sh", "-c", f"{PEAK}; {OTHERS}").decode(errors="replace")
        )

    def _quietly(self, *arguments: str, seconds: float = 60.0) -> bytes:
        """Run a command of the engine that may fail, as any does on a container that has ended; return its output."""
        try:
            return subprocess.run(
                [self._engine.command, *arguments], capture_output=True, check=False, timeout=seconds
            ).stdout
        except subprocess.TimeoutExpired:
            return b""


@contextmanager
def served(engine: Engine, image: Image, folders: Folders, limits: Limits, program: Sequence[str]) -> Iterator[Server]:
    """Start a container that answers calls; remove it at the end."""
    begin = time.monotonic()
    with engine.created(image, folders, limits, program) as container:
        yield Server(engine, container, limits, Attached(engine, container, begin, folders.notes), begin)
