"""Wall time by stage, and the age of the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

CLOCK_STARTED = time.perf_counter()
Given = ParamSpec("Given")
Result = TypeVar("Result")

STARTED_FIELD = 22  # of /proc/self/stat: clock ticks from the machine's start to the process's


class Stopwatch:
    """Sums the wall time of named stages, in seconds.

    Used as a context manager, it also times the functions marked with `timed` that are called in the context.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    def __enter__(self) -> Stopwatch:
        self._token = _RUNNING.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _RUNNING.reset(self._token)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside; on CUDA that includes the work queued there."""
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


_RUNNING: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def timed(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Mark a function as a stage: in the context of a `Stopwatch`, its time is added to the stage of this name."""

    def mark(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @wraps(function)
        def measured(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            stopwatch = _RUNNING.get()
            if stopwatch is None:
                return function(*args, **kwargs)
            with stopwatch.stage(name):
                return function(*args, **kwargs)

        return measured

    return mark


def seconds_since_start() -> float:
    """Return the age of this process, which on Linux includes the start of Python (to 0.01 s)."""
    try:
        # The name of the program, in parentheses, may hold spaces.
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(after_name[STARTED_FIELD - 3])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.perf_counter() - CLOCK_STARTED
