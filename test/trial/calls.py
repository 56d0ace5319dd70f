"""The invoke method: a container that is started once and called again and again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trial.containers import PEAK, Attached, Engine, Image, Outcome
from trial.limits import Folders, Limits

# Answers with the status on the first line and the body behind it.
CLIENT = """
import sys, urllib.error, urllib.request
method, path, seconds = sys.argv[1:]
request = urllib.request.Request("http://localhost:4743" + path, b"" if method == "POST" else None, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=float(seconds))
except urllib.error.HTTPError as error:
    answer = error
sys.stdout.buffer.write(str(answer.status).encode() + b"\\n" + answer.read())
"""
HEALTH_SECONDS = 300.0
STOP_SECONDS = 10.0


class Server:
    """A container that answers calls; see `Engine.served`."""

    def __init__(self, engine: Engine, container: str, limits: Limits, begin: float) -> None:
        self._engine, self._container, self._limits, self._begin = engine, container, limits, begin
        self._attached = Attached(engine, container, begin)

    def healthy(self) -> Outcome:
        """Ask for its health until it answers 200, at most for the platform's 300 seconds."""
        outcome = Outcome(None)
        while (left := HEALTH_SECONDS - (time.monotonic() - self._begin)) > 0 and self._attached.wait(0) is None:
            status, body = self._asked("GET", "/health", seconds=min(10.0, left))
            outcome = Outcome(status, [(0.0, body)], seconds=time.monotonic() - self._begin)
            if status == 200:
                break
            time.sleep(0.2)
        return outcome

    def call(self) -> Outcome:
        """Let it work on what lies in the input folder; the outcome holds this call's part of the streams."""
        lines, errors, begin = len(self._attached.lines), len(self._attached.errors), time.monotonic()
        status, body = self._asked("POST", "/invoke", seconds=self._limits.seconds)
        time.sleep(0.2)  # the streams come by another way than the answer
        seconds = time.monotonic() - begin
        peak = self._engine("exec", self._container, "sh", "-c", PEAK).split()
        return Outcome(
            status,
            [*self._attached.lines[lines:], (seconds, body)],
            b"".join(line for _, line in self._attached.errors[errors:]),
            seconds,
            peak_bytes=int(peak[0]) if peak else None,
        )

    def stop(self) -> Outcome:
        """Ask it to end, and wait for the platform's ten seconds."""
        begin = time.monotonic()
        self._engine("kill", "--signal=TERM", self._container)
        code = self._attached.wait(STOP_SECONDS)
        seconds = time.monotonic() - begin
        if code is None:
            subprocess.run([self._engine.command, "kill", self._container], capture_output=True, check=False)
        self._attached.finish()
        return Outcome(code, self._attached.lines, b"".join(line for _, line in self._attached.errors), seconds)

    def _asked(self, method: str, path: str, *, seconds: float) -> tuple[int | None, bytes]:
        """Send a request from inside the container, which has no network to the outside."""
        command = [self._engine.command, "exec", self._container, "python", "-c", CLIENT, method, path, str(seconds)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=seconds + 10)
        except subprocess.TimeoutExpired:
            return None, b""
        status, _, body = done.stdout.partition(b"\n")
        return (int(status), body) if status.isdigit() else (None, done.stdout + done.stderr)


@contextmanager
def served(
    engine: Engine, image: Image, folders: Folders, limits: Limits, *, arguments: Sequence[str] = ()
) -> Iterator[Server]:
    """Start a container that answers calls; remove it at the end."""
    begin = time.monotonic()
    with engine.created(image, folders, limits, arguments=arguments) as container:
        yield Server(engine, container, limits, begin)
