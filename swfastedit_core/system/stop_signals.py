"""Processes that are started while the signals that end a program are blocked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Block the signals that end a program, in this thread and in all processes that it starts meanwhile.

    A new process inherits the mask. So these signals are blocked there from the first instruction on, also while it
    imports. A signal that arrives meanwhile reaches this process at the end of the block.
    """
    resource_tracker.ensure_running()  # its start, with the first process, would unblock SIGINT and SIGTERM
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_on_stop_signals() -> None:
    """Unblock the signals in a process that was started with them blocked. They then end it, without a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
