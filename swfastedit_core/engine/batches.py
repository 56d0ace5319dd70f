"""Several windows at a time: how many are tried, how many stay, and what happens when memory runs out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from swfastedit_core.errors import WindowTooLargeError, is_out_of_memory

logger = logging.getLogger(__name__)

WORTH = 0.95  # a larger batch stays if a window then takes at most this share of its time


class BatchSize:
    """How many windows to run at a time, found out while they run.

    Attributes
    ----------
    size
        For the next call.

    Parameters
    ----------
    sizes
        To try, in rising order. Each is run twice, once to warm up and once for its time, and the next larger one is
        tried only while that pays. One alone is not tried, but taken.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.size = sizes[0]
        self._larger = list(sizes[1:])
        self._smaller, self._fastest = sizes[0], float("inf")
        self._warm = False

    @property
    def undecided(self) -> bool:
        """Whether the time of the next call is wanted."""
        return bool(self._larger)

    def took(self, windows: int, seconds: float) -> None:
        """Tell how long a call took."""
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
        """Tell that a call with this many windows, at least two, ran out of memory."""
        self.size, self._larger = max(windows // 2, 1), []


def in_batches(
    call: Callable[[list[Tensor]], Tensor],
    windows: Iterable[Tensor],
    batch: BatchSize,
    *,
    device: torch.device,
    too_large: Callable[[], WindowTooLargeError],
) -> Iterator[Tensor]:
    """Run windows as many at a time as `batch` says, and fewer where memory does not allow it.

    Parameters
    ----------
    call
        Takes windows [C, X, Y, Z] and returns logits [N, X, Y, Z].
    windows
        Of which the next ones are taken when the last ones have been consumed.
    batch
        Is told how long calls took, and when one failed.
    device
        On which the work is done.
    too_large
        Makes the error for a single window that does not fit.
    """
    source = iter(windows)
    while waiting := list(islice(source, batch.size)):
        while waiting:
            chunk = waiting[: batch.size]
            found = _attempted(call, chunk, batch, device)
            if found is None:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                if len(chunk) == 1:
                    raise too_large()
                batch.halve(len(chunk))
                logger.warning("memory ran out with %d windows at a time, going on with %d", len(chunk), batch.size)
                continue
            yield from found
            waiting = waiting[len(chunk) :]


def _attempted(
    call: Callable[[list[Tensor]], Tensor], chunk: list[Tensor], batch: BatchSize, device: torch.device
) -> Tensor | None:
    """Run a few windows; None where memory ran out."""
    timed = batch.undecided
    if timed and device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    try:
        found = call(chunk)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None  # outside this function, where the traceback no longer keeps the activations alive
    if timed:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        batch.took(len(chunk), time.perf_counter() - start)
    return found
