"""Time and memory of scores and reports on a 400×400×326 scan with 300 lesions: ``python -m bench.reporting``.

Each part runs in a process of its own. The scan is a phantom with hot balls in the body; its prediction misses some of
them, has some of its own, and the others are shifted and have another size. If a part is above its limit of time,
memory or size, the exit code is 1. The part "viewer" needs NiiVue:
``python -m swfastedit_core.report fetch-viewer``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from bench.machine import name_of
from bench.programs import ROOT
from bench.record import FOLDER, Record
from bench.report_pair import load_pair, make_pair, save_pair
from bench.report_parts import PARTS, Part, Result, median, table
from bench.speed import large_grid
from swfastedit_core.errors import UserError
from swfastedit_core.report.page import niivue
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.memory import peak_memory_mb

SLICES, LESIONS, SEED = 326, 300, 5
THIS = "bench.reporting"
CPU = torch.device("cpu")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog=f"python -m {THIS}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [part.name for part in PARTS]
    help_only = f"of {', '.join(names)} (default: all)"
    add("--only", nargs="+", choices=names, default=names, metavar="PART", help=help_only)
    add("--repeats", type=int, default=3, help="runs of each part; the median counts (default: %(default)s)")
    add("--lesions", type=int, default=LESIONS, help="number of lesions (default: %(default)s)")
    add("--slices", type=int, default=SLICES, help="of 400×400 voxels and 3 mm (default: %(default)s)")
    add("--output", type=path_argument, metavar="JSON", help="file for the figures; other parts in it are kept; "
        f"bench/results holds those of the documentation (default: {FOLDER}/reporting.json)")  # fmt: skip
    add("--run", nargs=2, metavar=("PART", "FOLDER"), help=argparse.SUPPRESS)  # in a child process
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.run is not None:
        name, folder = options.run
        print(json.dumps(asdict(measure_here(next(part for part in PARTS if part.name == name), Path(folder)))))
        return
    if options.repeats < 1 or options.lesions < 0 or options.slices < 1:
        raise UserError("--repeats and --slices: expected 1 or more; --lesions: expected 0 or more")
    if "viewer" in options.only:
        niivue.read()
    chosen = [part for part in PARTS if part.name in options.only]
    record = Record(options.output or FOLDER / "reporting.json", CPU)
    with tempfile.TemporaryDirectory(prefix="reporting-") as folder:
        save_pair(make_pair(large_grid(options.slices), lesions=options.lesions, seed=SEED), Path(folder))
        results = {part.name: [measure(part, Path(folder)) for _ in range(options.repeats)] for part in chosen}
    settings = {"lesions": options.lesions, "slices": options.slices, "repeats": options.repeats}
    record.write("reporting", {name: [asdict(run) for run in runs] for name, runs in results.items()}, settings)
    say(f"{name_of(CPU)}; 400×400×{options.slices} voxels, {options.lesions} lesions\n\n{table(results)}")
    exceeded = [
        f"{part.name} ({', '.join(what)})" for part in chosen if (what := part.exceeded(median(results[part.name])))
    ]
    if exceeded:
        raise UserError(f"above the limits: {'; '.join(exceeded)}")


def measure(part: Part, folder: Path) -> Result:
    """Run a part in a process of its own."""
    command = [sys.executable, "-m", THIS, "--run", part.name, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{part.name}: {done.stderr.strip() or 'ended without a reason'}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def measure_here(part: Part, folder: Path) -> Result:
    """Run a part in this process, which has done nothing else.

    What the part needs is prepared before its time starts. The memory is the peak of the whole process, with Python,
    the libraries and the scan.
    """
    pair = load_pair(folder)
    with tempfile.TemporaryDirectory(dir=folder) as output:
        work = part.prepare(pair, Path(output))
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        size_mb = sum(path.stat().st_size for path in Path(output).rglob("*") if path.is_file()) / 1e6
    return Result(seconds, cpu_seconds, peak_memory_mb(), size_mb)


if __name__ == "__main__":
    sys.exit(main())
