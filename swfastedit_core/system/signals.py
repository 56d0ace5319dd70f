"""Signals that ask the program to end become an exception."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_raised: list[BaseException] = []  # by the handler of this process; one at most


class Stopped(BaseException):
    """A signal asked the program to end. It is an exception, so that temporary files are removed."""


@contextmanager
def signals_stop() -> Iterator[None]:
    """Turn signals that end a program into an exception; a signal that is ignored, as under nohup, stays ignored.

    After the first one all are ignored until the work has ended. Signals that were blocked before are unblocked:
    `supervisor.supervise` blocks them until this handler is there.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for one in wanted:  # a second signal would interrupt the removal of temporary files
            signal.signal(one, signal.SIG_IGN)
        _raised.append(KeyboardInterrupt() if number == signal.SIGINT else Stopped(number))
        raise _raised[0]

    wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in wanted}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _raised.clear()


def raise_swallowed_stop() -> None:
    """Raise the exception of a signal again, if there was one.

    Libraries swallow exceptions. torch does it while its C++ code imports numpy; numpy is then half loaded, and its
    next import fails.

    Raises
    ------
    KeyboardInterrupt, Stopped
        If a signal asked this process to end.
    """
    if _raised:
        raise _raised[0]


def signal_line(number: int) -> str:
    """Return the line about a program that a signal ended."""
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
