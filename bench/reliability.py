"""Try the program on machines and with clients that fail: ``python -m bench.reliability`` writes docs/reliability.md.

Each trial runs the real program in child processes. A trial that fails is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from bench import trials_server, trials_signals, trials_surroundings
from bench.record import Record
from bench.trial_programs import ROOT, TrialError
from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.command import Parser, run_command, say

FIGURES, PAGE = ROOT / "bench/results/reliability.json", ROOT / "docs/reliability.md"


class Run(Protocol):
    """Runs a trial in an empty folder."""

    def __call__(self, folder: Path, *, quick: bool) -> str:
        """Return the result in one line, or raise `TrialError`. Quick: fewer repetitions."""
        ...


@dataclass(frozen=True)
class Trial:
    """A trial: its name, what is done and what must happen, and the function."""

    name: str
    what: str
    run: Run

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return f"python -m bench.reliability --only {self.name}"


TRIALS = (
    Trial("calls", "200 calls of one `invoke` server: its memory stays level", trials_server.memory_over_calls),
    Trial("clients", "50 clients call at once: each gets a mask", trials_server.clients_at_once),
    Trial("slow", "300 connections send half a request and wait: other calls are answered",
          trials_server.slow_connections),
    Trial("kill", "`kill -9` at 30 random moments: no incomplete mask; the next call removes temporary files that are "
          "older than a minute", trials_signals.kill),
    Trial("stop", "SIGTERM at 30 random moments: the end within 2 s, exit code 143, nothing left", trials_signals.stop),
    Trial("address-space", "`ulimit -v`: a mask, or one line that says out of memory",
          trials_surroundings.address_space),
    Trial("data", "`ulimit -d`: the same", trials_surroundings.data_segment),
    Trial("full-disk", "output, temporary folder or standard output is full: one line, no mask",
          trials_surroundings.full_disk),
    Trial("read-only", "output on a read-only file system: one line", trials_surroundings.read_only),
    Trial("deleted-folder", "the working directory was deleted: one line, from each command and script",
          trials_surroundings.deleted_folder),
    Trial("streams", "standard input, output or error is closed: the mask is written",
          trials_surroundings.closed_streams),
    Trial("locale", "`LC_ALL=C`, an accent in the file name: the mask is written; a name that is not UTF-8: one line",
          trials_surroundings.odd_locale),
    Trial("resume", "training killed and resumed: the same weights, bit for bit", trials_surroundings.resumed_training),
)  # fmt: skip


def attempt(trial: Trial, *, quick: bool) -> tuple[str, bool]:
    """Run a trial in a folder of its own; return the result and whether it is as it must be."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        try:
            return trial.run(Path(folder), quick=quick), True
        except (TrialError, OSError) as error:
            return f"FAILED: {' '.join(str(error).split())}", False


def machine() -> str:
    """Return memory and operating system; the processor is in the record."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{memory_gb:.0f} GB of memory, {system}, Python {platform.python_version()}"


def page(figures: dict[str, Any]) -> str:
    """Return docs/reliability.md.

    Parameters
    ----------
    figures
        The content of the record: the processor, and for each trial that was run its result.
    """
    lines = [
        "# Reliability", "",
        "What was tried, and what happened. Each trial runs the real program. `python -m bench.reliability` runs all",
        "of them and writes this page; it needs the development tools (`./test.sh` installs them) and Linux.",
        "", f"Machine: {figures['machine']}, {figures.get('system', '')}.", "",
        "| trial | result | command |", "|---|---|---|",
    ]  # fmt: skip
    for trial in TRIALS:
        result = figures.get(trial.name, {}).get("result", "not run")
        lines.append(f"| {trial.what} | {result.replace('|', chr(92) + '|')} | `{trial.command}` |")
    lines += [
        "",
        "On Linux each command runs as two processes. The first one starts the second, passes signals on, and waits.",
        "If a library aborts the second process, or the system kills it for lack of memory, the first one prints one",
        "line and ends with exit code 1. If `process.py` does not end within 1.5 s after a signal, because a library",
        "repeats an allocation for ever, the first one kills it. A training run has no such limit: it saves its",
        "state first.",
        "",
        "Below the least limits of memory, the program ends before it imports a library. Above them it can still run",
        "out of memory, by the size of the scan. OpenVINO may wait for ever if it cannot start a thread; after ten",
        "minutes the program ends with one line.",
        "",
        "The checks belong to the commands. A Python program that imports the package under a low limit may repeat an",
        "allocation for ever in the import of numpy or scipy (OpenBLAS); `OPENBLAS_NUM_THREADS=1` helps.",
        "",
        "If UTF-8 is turned off (`PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=POSIX`), a name with an accent is refused",
        "as not UTF-8, in one line.",
        "",
        "`python -m` in a deleted folder finds the package only if it is installed or in `PYTHONPATH`; otherwise",
        "Python itself ends with one line. Bash prints one line of its own (`shell-init`) before the line of a script.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = Parser(prog="python -m bench.reliability", description=__doc__)
    names = [trial.name for trial in TRIALS]
    parser.add_argument("--only", choices=names, action="append", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; nothing is written")
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    record = None if options.quick else Record(FIGURES, torch.device("cpu"))
    failed = []
    for trial in TRIALS:
        if options.only and trial.name not in options.only:
            continue
        begin = time.monotonic()
        result, passed = attempt(trial, quick=options.quick)
        seconds = time.monotonic() - begin
        say(f"{trial.name}: {result} ({seconds:.0f} s)")
        failed += [] if passed else [trial.name]
        if record is not None:
            record.content["system"] = machine()
            record.write(trial.name, {"result": result, "seconds": round(seconds)}, {})
            with replacing(PAGE) as temporary:
                temporary.write_text(page(record.content))
    if failed:
        raise UserError(f"{len(failed)} trial(s) failed: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(main())
