"""Updates of a session's mask."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

from swfastedit_core.box import Box
from swfastedit_core.clicks import FileVoxels
from swfastedit_core.pipeline import Progress
from swfastedit_core.volume import Volume


@dataclass(frozen=True, eq=False)
class Update:
    """What a preview or a settle changed.

    Attributes
    ----------
    mask
        uint8 [Z, Y, X], 1 = lesion, on the scan's own grid.
    changed_box
        Voxels x, y, z of the file that hold all voxels that differ from the mask before; None if none differs.
    windows
        Windows that ran.
    seconds
        Wall time.
    settled
        Whether the mask is the exact result for the session's clicks.
    outside
        Clicks, voxels x, y, z of the file. After a preview: new clicks outside its windows, whose effect `settle`
        shows. Otherwise: clicks outside all windows of the plan, which have no effect.
    """

    mask: Volume
    changed_box: Box | None
    windows: int
    seconds: float
    settled: bool
    outside: FileVoxels


class StoppedError(Exception):
    """A settle in the background was stopped."""


class Run:
    """Counts the windows of a preview or a settle; it is called after each of them.

    Parameters
    ----------
    progress
        Called with the number of finished windows and of windows to run.
    stop
        Set to stop the run.

    Attributes
    ----------
    windows, to_run
        Windows that ran, and windows to run.
    """

    def __init__(self, progress: Progress | None = None, stop: Event | None = None) -> None:
        self._progress, self._stop = progress, stop
        self._started = time.perf_counter()
        self.windows = self.to_run = 0

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._started

    def raise_if_stopped(self) -> None:
        """Raise `StoppedError` if the run was stopped."""
        if self._stop is not None and self._stop.is_set():
            raise StoppedError

    def __call__(self) -> None:
        """Count a window."""
        self.windows += 1
        if self._progress is not None:
            self._progress(self.windows, max(self.windows, self.to_run))  # more if float16 overflowed
        self.raise_if_stopped()
