"""Batches of windows: the fastest size is measured while they run. It is lowered if memory runs out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from swfastedit_core.errors import WindowTooLargeError, is_out_of_memory

logger = logging.getLogger(__name__)

WORTH = 0.95  # a larger batch is kept if a window takes at most this share of its time in the smaller batch


class BatchSize:
    """The number of windows to run at a time, measured while they run.

    Attributes
    ----------
    size
        Number of windows of the next call.

    Parameters
    ----------
    sizes
        Sizes to try, in rising order. Each size runs twice: the first run is the warm-up, the second one is timed. The
        next size is tried only if this one was faster than the one before. A single size is used without a trial.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.size = sizes[0]
        self._larger = list(sizes[1:])
        self._smaller, self._fastest = sizes[0], float("inf")
        self._warm = False

    @property
    def undecided(self) -> bool:
        """Whether the next call has to be timed."""
        return bool(self._larger)

    def next_call(self, waiting: int) -> int:
        """Return the number of windows of the next call, at most as many as wait.

        It is `size`, or a half, a quarter… of it for the last windows. So few different sizes run, and each one is
        prepared once: cuDNN chooses its algorithms anew for each size.
        """
        windows = self.size
        while windows > waiting:
            windows //= 2
        return windows

    def record(self, windows: int, seconds: float) -> None:
        """Record the time of a call."""
        if not self._larger or windows < self.size:
            return
        if not self._warm:
            self._warm = True
            return
        self._warm = False
        if seconds / windows > WORTH * self._fastest:
            self.size, self._larger = self._smaller, []
            return
        self._smaller, self._fastest = self.size, seconds / windows
        self.size = self._larger.pop(0)

    def halve(self, windows: int) -> None:
        """Record that a call with this many windows, at least two, ran out of memory."""
        self.size, self._larger = max(windows // 2, 1), []


def in_batches(
    call: Callable[[list[Tensor]], Tensor],
    windows: Iterable[Tensor],
    batch: BatchSize,
    *,
    device: torch.device,
    too_large: Callable[[], WindowTooLargeError],
) -> Iterator[Tensor]:
    """Run windows in batches; if memory runs out, in smaller batches.

    Parameters
    ----------
    call
        Takes windows [C, X, Y, Z] and returns logits [N, X, Y, Z].
    windows
        The next batch is read after the logits of the last batch were yielded.
    batch
        Size of the batches; it records times and failures.
    device
        Device of the network.
    too_large
        Makes the error for a single window that does not fit.
    """
    source = iter(windows)
    while waiting := list(islice(source, batch.size)):
        while waiting:
            chunk = waiting[: batch.next_call(len(waiting))]
            logits = _attempt(call, chunk, batch, device)
            if logits is None:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                if len(chunk) == 1:
                    raise too_large()
                batch.halve(len(chunk))
                logger.warning("memory ran out with %d windows at a time, going on with %d", len(chunk), batch.size)
                continue
            yield from logits
            waiting = waiting[len(chunk) :]


def _attempt(
    call: Callable[[list[Tensor]], Tensor], chunk: list[Tensor], batch: BatchSize, device: torch.device
) -> Tensor | None:
    """Run a few windows; None if memory ran out."""
    timed = batch.undecided
    if timed and device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    try:
        logits = call(chunk)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error, windows=len(chunk)):
            raise
        return None  # the caller frees memory: here the traceback still keeps the activations alive
    if timed:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        batch.record(len(chunk), time.perf_counter() - start)
    return logits
