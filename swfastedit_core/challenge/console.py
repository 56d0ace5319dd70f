"""Progress on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from swfastedit_core.challenge.case import Progress
from swfastedit_core.system.command import say

LINES_OF_PROGRESS = 10


@contextmanager
def progress_bar(name: str, *, quiet: bool, unit: str = "window") -> Iterator[Progress | None]:
    """Show finished windows or other units: a bar on a terminal, otherwise a line for every tenth; None if quiet."""
    if quiet:
        yield None
    elif sys.stdout.isatty():
        from tqdm import tqdm

        with tqdm(desc=name, unit=unit, file=sys.stdout) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
    else:
        yield _lines(name, unit)


def _lines(name: str, unit: str) -> Progress:
    last = -1

    def line(done: int, total: int) -> None:
        nonlocal last
        tenth = done * LINES_OF_PROGRESS // total
        if tenth > last:
            last = tenth
            say(f"{name}: {done} of {total} {unit}s")

    return line
