"""Time and loss of training steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class StepTimer:
    """Measures steps between two lines of the log: mean loss, seconds, and the share spent waiting for crops."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._waited = self._excluded = 0.0
        self._start = time.perf_counter()

    def time_waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches; measure how long each takes to arrive."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield batch

    def add_step(self, loss: float) -> None:
        """Count a step; a loss of NaN counts as a skipped step."""
        self._losses.append(loss)

    def run_excluded(self, work: Callable[[], object]) -> None:
        """Run work whose time does not count as training, such as a validation."""
        start = time.perf_counter()
        work()
        self._excluded += time.perf_counter() - start

    def take_metrics(self) -> dict[str, float]:
        """Return the metrics and start again."""
        metrics = self.metrics()
        self._losses, self._waited, self._excluded, self._start = [], 0.0, 0.0, time.perf_counter()
        return metrics

    def metrics(self) -> dict[str, float]:
        """Return the metrics since the last `take_metrics`, by their column in metrics.csv."""
        seconds = max(time.perf_counter() - self._start - self._excluded, 1e-9)
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        return {
            "loss": sum(finite) / len(finite) if finite else math.nan,
            "seconds_per_step": seconds / max(len(self._losses), 1),
            "waiting": self._waited / seconds,
            "skipped": len(self._losses) - len(finite),
        }
