"""The invoke method: one container answers many calls over HTTP."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trial.containers import LIST_PROCESSES, READ_PEAK, Engine, Outcome, RunningContainer, parse_report
from trial.image import Image
from trial.limits import Folders, Limits

# Prints the status on the first line, then the body. The status is 0 if the connection fails, "late" at the time limit.
# The platform calls 127.0.0.1 from inside the container. The image listens on all addresses, so that its port can be
# published; a server that listens on 127.0.0.1 only does not answer at 127.0.0.2.
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
HEALTH_SECONDS = 10.0  # the platform's limit for one request
STOP_SECONDS = 10.0
STREAM_SECONDS = 0.2  # the streams may arrive later than the answer
LAST_SECONDS = 5.0  # limit for the engine to report the end of a container, or the last line of stderr


class Server:
    """A container that answers calls; `start_server` makes it."""

    def __init__(self, engine: Engine, container: str, limits: Limits, running: RunningContainer, begin: float) -> None:
        self._engine, self._container, self._limits = engine, container, limits
        self._running, self._begin = running, begin
        self._own_processes: set[int] = set()  # those that run before the first call

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._running.wait(0)

    def wait_until_healthy(self) -> Outcome:
        """Request /health until the status is 200, the server ends, or the start limit is reached."""
        status, body = None, b""
        while self.exit_code is None and (left := self._limits.start_seconds - (time.monotonic() - self._begin)) > 0:
            status, body = self._request("GET", "/health", seconds=min(HEALTH_SECONDS, left))
            if status == 200:
                break
            time.sleep(0.2)
        _, processes = self._report()
        self._own_processes = set(processes)
        return self._outcome(status, body, begin=self._begin)

    def invoke(self) -> Outcome:
        """Call /invoke for the case in the input folder; the outcome has the lines of this call only."""
        lines, errors, begin = len(self._running.lines), len(self._running.errors), time.monotonic()
        status, body = self._request("POST", "/invoke", seconds=self._limits.seconds)
        if status is not None and status >= 400:
            self._wait_for_stderr(errors)
        return self._outcome(status, body, begin=begin, lines=lines, errors=errors)

    def stop(self) -> Outcome:
        """Send SIGTERM; wait for ten seconds, as the platform does; then kill the container."""
        begin = time.monotonic()
        self._run_unchecked("kill", "--signal=TERM", self._container)
        code = self._running.wait(STOP_SECONDS)
        seconds = time.monotonic() - begin
        if code is None:
            self._run_unchecked("kill", self._container)
        self._running.finish()
        return Outcome(code, self._running.lines, self._running.stderr(), seconds)

    def _outcome(self, status: int | None, body: bytes, *, begin: float, lines: int = 0, errors: int = 0) -> Outcome:
        """Return the outcome of a request; its code is the exit code if the server ended without an answer."""
        seconds = time.monotonic() - begin
        exit_code = self._running.wait(STREAM_SECONDS if status else LAST_SECONDS)
        if exit_code is not None:
            self._running.finish()
        peak_bytes, processes = self._report()
        return Outcome(
            exit_code if not status and exit_code is not None else status,
            self._running.lines[lines:],
            self._running.stderr(errors),
            seconds,
            [command for number, command in processes.items() if number not in self._own_processes],
            peak_bytes,
            self._engine.changes(self._container),
            body,
            exit_code,
        )

    def _wait_for_stderr(self, errors: int) -> None:
        """Wait for a new line of stderr, the reason of a failure."""
        begin = time.monotonic()
        while len(self._running.errors) == errors and time.monotonic() - begin < LAST_SECONDS:
            time.sleep(0.05)
        time.sleep(STREAM_SECONDS)  # a second line would fail a check

    def _request(self, method: str, path: str, *, seconds: float) -> tuple[int | None, bytes]:
        """Send a request from inside the container, since it has no network; return status and body."""
        command = ["exec", self._container, "python", "-c", CLIENT, method, path, str(seconds)]
        done = self._run_unchecked(*command, seconds=seconds + 10)
        status, _, body = done.partition(b"\n")
        return (int(status), body) if status.isdigit() else (None, done)

    def _report(self) -> tuple[int | None, dict[int, str]]:
        """Return peak memory and processes; None and nothing if the container has ended."""
        script = f"{READ_PEAK}; {LIST_PROCESSES}"
        return parse_report(self._run_unchecked("exec", self._container, "sh", "-c", script).decode(errors="replace"))

    def _run_unchecked(self, *arguments: str, seconds: float = 60.0) -> bytes:
        """Run a command of the engine; return its stdout, even if it fails because the container has ended."""
        try:
            return subprocess.run(
                [self._engine.command, *arguments], capture_output=True, check=False, timeout=seconds
            ).stdout
        except subprocess.TimeoutExpired:
            return b""


@contextmanager
def start_server(
    engine: Engine, image: Image, folders: Folders, limits: Limits, program: Sequence[str]
) -> Iterator[Server]:
    """Start a server; remove its container at the end."""
    begin = time.monotonic()
    with engine.create(image, folders, limits, program) as container:
        yield Server(engine, container, limits, RunningContainer(engine, container, begin, folders.reports), begin)
