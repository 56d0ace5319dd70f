"""Signals that stop a run: it finishes the current step and saves its state before it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from swfastedit_core.system.command import Stopped


class StopRequest:
    """The signal that asked this process to stop.

    Attributes
    ----------
    number
        Number of the signal; None before one arrives.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def received(self) -> bool:
        """Whether a signal arrived."""
        return self.number is not None

    def end_program(self) -> NoReturn:
        """Raise KeyboardInterrupt for SIGINT, otherwise `Stopped`.

        If only another process received a signal, raise `Stopped` for SIGTERM.
        """
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(self.number or signal.SIGTERM)


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Record SIGINT, SIGTERM and SIGHUP in a `StopRequest` instead of ending the program.

    A second SIGINT ends the program at once. The other signals may arrive several times for one request: from a
    scheduler, and again from torchrun.
    """
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
    before = {number: signal.getsignal(number) for number in numbers}

    def record(number: int, _: FrameType | None) -> None:
        request.number = request.number or number
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, record)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
