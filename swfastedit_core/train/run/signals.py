"""Asked to stop: a run finishes its step and writes its state before it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from swfastedit_core.system.command import Stopped


class StopRequest:
    """Whether a signal asks the run to stop, and which.

    Attributes
    ----------
    number
        Of the signal; None while there is none.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether there was one."""
        return self.number is not None

    def follow(self) -> NoReturn:
        """End as the signal would have ended the program; another process's request counts as SIGTERM."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(self.number or signal.SIGTERM)


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Note signals instead of ending; a second SIGINT ends the program as ever.

    Others may come several times for one wish: from a scheduler, and passed on by torchrun.
    """
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, _: FrameType | None) -> None:
        request.number = request.number or number
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
