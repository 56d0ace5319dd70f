"""Trials that end the program at random moments."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.trial_programs import PROCESS, call, finish, require, start, write_scan
from swfastedit_core.files.write import is_own_mask
from swfastedit_core.system.atomic import ABANDONED_SECONDS

NAME = "scan.mha"
SEED = 21
STOP_SECONDS = 2.0
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from swfastedit_core.system.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half a mask")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _segment(folder: Path) -> list[object]:
    return [*PROCESS, "--pet", folder / NAME, "--output", folder / "masks", "--quiet"]


def _moments(folder: Path, *, quick: bool) -> Sequence[float]:
    """Return random moments in the duration of a run, in seconds; the first ones are of the imports."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    write_scan(folder / NAME)
    whole = call(_segment(folder)).seconds
    (folder / "masks" / NAME).unlink()
    generator, count = random.Random(SEED), 3 if quick else 30
    return [0.2 + generator.random() * whole for _ in range(count)]


def kill(folder: Path, *, quick: bool) -> str:
    """Send SIGKILL: the mask is complete or absent. The next call removes temporary files."""
    masks, left, complete = folder / "masks", 0, 0
    moments = _moments(folder, quick=quick)
    for moment in moments:
        process = start(_segment(folder))
        time.sleep(moment)
        process.kill()
        finish(process)
        if (masks / NAME).exists():
            require(is_own_mask(masks / NAME), f"an incomplete mask after {moment:.2f} s")
            (masks / NAME).unlink()
            complete += 1
    call([sys.executable, "-c", KILLED_WRITER, masks / NAME])  # random moments rarely meet the writing of a mask
    for abandoned in masks.iterdir():
        left += 1
        os.utime(abandoned, times=(0, time.time() - 2 * ABANDONED_SECONDS))
    require(left > 0, "a killed writer leaves no temporary file; the trial shows nothing")
    require(call(_segment(folder)).code == 0, "the next call failed")
    require([path.name for path in masks.iterdir()] == [NAME], "temporary files stay after the next call")
    return f"{len(moments)} kills: {complete} complete masks, 0 incomplete; {left} temporary file(s), removed"


def stop(folder: Path, *, quick: bool) -> str:
    """Send SIGTERM: the program ends within two seconds, with one line and exit code 143, and leaves nothing."""
    masks, slowest, ended = folder / "masks", 0.0, 0
    moments = _moments(folder, quick=quick)
    for moment in moments:
        process = start(_segment(folder))
        time.sleep(moment)
        process.send_signal(signal.SIGTERM)
        end = finish(process)
        if end.code != 0:  # it was not ready before
            end.require_line("ended by SIGTERM", code=143)
            ended += 1
        slowest = max(slowest, end.seconds)
        for path in masks.iterdir():
            require(is_own_mask(path), f"{path.name} is left after {moment:.2f} s")
            path.unlink()
    require(slowest < STOP_SECONDS, f"{slowest:.1f} s from SIGTERM to the end")
    return f"{len(moments)} signals: {ended} runs ended with 143, at most {slowest:.1f} s later, nothing left"
