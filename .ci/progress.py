"""The progress of an installation by pip: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType

SECONDS_BETWEEN_LINES = 15.0
COLLECTING = re.compile(r"Collecting ([\w.-]+)")
FETCHING = re.compile(
    r"\s*(?:Downloading|Using cached|Processing) (?:\S*/)?([\w.]+)-\S+?(?: \(([\d.]+) (kB|MB|GB)\))?$"
)
MB = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}


class Progress:
    """Reads pip's output and says what pip does.

    Pip prints nothing while it downloads a file or copies packages. So the size of its temporary files is looked at,
    and the number of packages whose RECORD is written.
    """

    def __init__(self, venv: Path, scratch: Path) -> None:
        self._venv, self._scratch = venv, scratch
        self._found: list[str] = []
        self._fetching, self._size_mb, self._fetched_mb = "", 0.0, 0.0
        self._installing: list[str] = []
        self._before = 0
        self._trouble = self._line = ""
        self._begin = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        self._before = self._installed()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def read(self, line: str) -> None:
        """Read a line of pip's output."""
        line = line.rstrip()
        if line.startswith("WARNING: Retrying"):
            self._trouble = "no connection, trying again"
        elif found := COLLECTING.match(line):
            self._trouble = ""
            self._found.append(found[1])
        elif found := FETCHING.match(line):
            self._fetched_mb += self._size_mb
            self._fetching, self._size_mb = found[1], float(found[2] or 0) * MB[found[3] or "MB"]
        elif line.startswith("Installing collected packages: "):
            self._fetched_mb += self._size_mb
            self._installing = line.partition(": ")[2].split(", ")

    def show(self) -> None:
        """Print the state, if it is time."""
        now = time.monotonic()
        if self._terminal:
            line = self._state()[: shutil.get_terminal_size().columns - 1]
            if line != self._line:
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            self._line = line
        elif now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            print(f"{now - self._begin:.0f} s: {self._state()}", file=sys.stderr, flush=True)

    def _state(self) -> str:
        if self._trouble:
            return self._trouble
        if self._installing:
            done = max(0, min(self._installed() - self._before, len(self._installing) - 1))
            return f"installing {self._installing[done]} ({done + 1} of {len(self._installing)} packages)"
        if self._fetching:
            file_mb = min(self._partial_mb(), self._size_mb)
            of = f", {file_mb:.0f} of {self._size_mb:.0f} MB" if self._size_mb >= 1 else ""
            return (
                f"downloading {self._fetching}{of} ({len(self._found)} packages, {self._fetched_mb + file_mb:.0f} MB)"
            )
        return f"looking for {self._found[-1] if self._found else 'packages'} ({len(self._found)} packages)"

    def _installed(self) -> int:
        return sum(1 for _ in self._venv.glob("lib/python3*/site-packages/*.dist-info/RECORD"))

    def _partial_mb(self) -> float:
        """Return the size of the file that pip downloads: the newest one in its temporary folder."""
        sizes = [0.0]
        for path in self._scratch.glob("pip-unpack-*/*"):
            try:
                sizes.append(path.stat().st_size / 1e6 if self._fetching in path.name else 0.0)
            except OSError:  # pip has removed it
                continue
        return max(sizes)
