import pytest
import torch

from swfastedit_core.system import stopwatch
from swfastedit_core.system.stopwatch import Stopwatch, timed

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Let a second pass at every look at the clock."""
    now = iter(range(100))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: float(next(now)))


@timed("double")
def double(value, *, plus=0):
    return 2 * value + plus


def test_marked_functions_are_stages_of_the_stopwatch_around_them(clock):
    with Stopwatch(CPU) as watch:
        assert double(3, plus=1) == 7
        double(4)
        with watch.stage("other"):
            pass
    assert watch.seconds == {"double": 2.0, "other": 1.0}


def test_marked_function_without_a_stopwatch_is_the_function():
    assert double(3) == 6
    assert double.__name__ == "double"


def test_inner_stopwatch_takes_the_time_and_hands_back(clock):
    with Stopwatch(CPU) as outer:
        with Stopwatch(CPU) as inner:
            double(1)
        double(1)
    assert (inner.seconds, outer.seconds) == ({"double": 1.0}, {"double": 1.0})


def test_failed_stage_is_not_counted_but_the_stopwatch_ends():
    @timed("fails")
    def fails():
        raise ValueError

    with pytest.raises(ValueError), Stopwatch(CPU) as watch:  # noqa: PT011 - its own error
        fails()
    assert watch.seconds == {}
    double(1)
    assert watch.seconds == {}
