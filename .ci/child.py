"""Run a program, read what it prints, and end it if a signal comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol, TextIO

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_END = 5.0  # that a program has after a signal


class InstallationError(Exception):
    """A failure whose text is one line for the user."""


class Interrupted(BaseException):
    """A signal, or the end of the calling script, ends the work."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Watch(Protocol):
    """What looks at a running program."""

    def read(self, line: str) -> None:
        """Read a line that the program prints."""

    def show(self) -> None:
        """Show the state; called several times a second."""


def say(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals into `Interrupted`; a signal that is ignored, as under nohup, stays ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for other in handled:  # a second Ctrl-C does not disturb the end
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    for number in handled:
        signal.signal(number, stop)
    yield


def run(
    command: list[str],
    *,
    lock: TextIO,
    environment: dict[str, str] | None = None,
    log: TextIO | None = None,
    watch: Watch | None = None,
) -> subprocess.CompletedProcess[list[str]]:
    """Run a program without input; return its exit code and lines, those of standard error too.

    The program inherits the lock. If this process is killed, the lock is held until the program ends.
    """
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if log is not None:
                log.write(line)
                log.flush()
            if watch is not None:
                watch.read(line)

    caller = os.getppid()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        pass_fds=(lock.fileno(),),
    )
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while _runs(process, SECONDS_BETWEEN_LOOKS):
            if os.getppid() != caller:
                raise Interrupted(signal.SIGHUP)
            if watch is not None:
                watch.show()
    except BaseException:
        _end(process)
        raise
    finally:  # the caller closes the log
        reader.join(SECONDS_TO_END)
    return subprocess.CompletedProcess(command, process.returncode, lines)


def _runs(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[str]) -> None:
    """End a program; after Ctrl-C on a terminal it may be ending already."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if not _runs(process, SECONDS_TO_END if number != signal.SIGINT else SECONDS_BETWEEN_LOOKS):
            return
        process.send_signal(number)
    process.wait()
