"""A signal ends a command, also if a library swallows the exception that it raises."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from swfastedit_core.system.command import Stopped, attempt, run_command
from swfastedit_core.system.signals import raise_swallowed_stop, signals_stop

ENDS = [(signal.SIGTERM, 143, "ended by SIGTERM\n"), (signal.SIGINT, 130, "interrupted\n")]


def swallow(number):
    """Import as torch does: its C++ code drops whatever is raised while it imports numpy."""
    with suppress(BaseException):
        signal.raise_signal(number)


def half_import(number):
    """Import numpy a second time after that."""
    swallow(number)
    raise ImportError("cannot load module more than once per process")


@pytest.mark.parametrize(("number", "code", "reason"), ENDS)
def test_failure_that_a_swallowed_signal_causes_is_told_as_the_signal(number, code, reason, capfd):
    assert run_command(lambda _: half_import(number)) == code
    assert capfd.readouterr() == ("", reason)


def test_attempt_after_a_swallowed_signal_is_no_failure_of_the_work(capfd):
    with signals_stop(), pytest.raises(Stopped, match="15"):
        attempt(lambda: half_import(signal.SIGTERM))
    assert capfd.readouterr() == ("", "")


def test_swallowed_signal_is_raised_again_until_the_command_has_ended():
    with signals_stop():
        swallow(signal.SIGTERM)
        with pytest.raises(Stopped):
            raise_swallowed_stop()
        with pytest.raises(Stopped):
            raise_swallowed_stop()
    raise_swallowed_stop()  # raises nothing: that command has ended
    assert run_command(lambda _: raise_swallowed_stop()) == 0
