"""Processes and the signals that end a program."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context, resource_tracker

import pytest

from swfastedit_core.system.stop_signals import STOP_SIGNALS, end_on_stop_signals, stop_signals_blocked


def blocked() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_process_does_not_see_stop_signals_from_its_start_on():
    with stop_signals_blocked():
        process = get_context("spawn").Process(target=time.sleep, args=(0.1,))
        process.start()
    for number in STOP_SIGNALS:
        os.kill(process.pid, number)  # it still starts Python
    process.join(60)
    assert process.exitcode == 0


def test_resource_tracker_is_started_before_signals_are_blocked(monkeypatch):
    """Its start unblocks SIGINT and SIGTERM: the first worker would see them."""
    when_started = []
    monkeypatch.setattr(resource_tracker, "ensure_running", lambda: when_started.append(blocked()))
    with stop_signals_blocked():
        assert blocked() >= STOP_SIGNALS
    assert when_started == [blocked()]
    assert not blocked() & STOP_SIGNALS


def test_signal_that_comes_while_workers_start_arrives_afterwards():
    started = []

    def start_workers():
        with stop_signals_blocked():
            signal.raise_signal(signal.SIGINT)
            started.append(True)

    with pytest.raises(KeyboardInterrupt):
        start_workers()
    assert started == [True]


@pytest.mark.parametrize("number", sorted(STOP_SIGNALS))
def test_signal_that_was_blocked_ends_a_process_that_lets_it(number, capfd):
    with stop_signals_blocked():
        process = get_context("spawn").Process(target=end_on_stop_signals)
        process.start()
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == -number
    assert capfd.readouterr().err == ""
