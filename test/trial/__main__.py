"""Run a container image as grand-challenge.org does, with both API methods; check it; print a table.

The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trial.cases import cases
from trial.checks import failures
from trial.clicks import NAME, click_rows
from trial.containers import Engine
from trial.limits import GIB, MIB, Limits, default_memory
from trial.table import Trial

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C, so that containers and folders are removed
    try:
        return _run_trial(options)
    except RuntimeError as error:  # from the engine
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run_trial(options: argparse.Namespace) -> int:
    engine = Engine(options.engine)
    memory = default_memory() if options.memory_gb is None else int(options.memory_gb * GIB) // MIB * MIB
    limits = Limits(options.time_limit, memory, options.start_limit)
    chosen = [
        case
        for case in cases(options.input, options.expected if options.expected.is_dir() else None)
        if not options.only or case.name in options.only
    ]
    trial = Trial(engine, engine.inspect(options.image), limits, chosen, options.model)
    begin, failed = time.monotonic(), 0
    print(f"{'check':34} {'result':8} {'time':>8} {'memory':>9}  remarks", flush=True)
    more = None if options.only and NAME not in options.only else partial(click_rows, shipped=options.input)
    for row in trial.rows(options.methods, more=more):
        failed_checks = failures(row.checks)
        failed += len(failed_checks)
        result = f"{len(failed_checks)} FAILED" if failed_checks else f"ok ({len(row.checks)})"
        seconds = "" if row.seconds is None else f"{row.seconds:.1f} s"
        peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e9:.2f} GB"
        print(f"{row.name:34} {result:8} {seconds:>8} {peak:>9}  {row.remark}".rstrip(), flush=True)
        for check in failed_checks:
            print(f"    FAILED {check.name}: {check.found}", flush=True)
    for warning in engine.warnings:
        print(f"warning of {options.engine}: {warning}")
    verdict = f"{failed} check(s) FAILED" if failed else "all checks passed"
    print(f"{options.image}: {verdict}, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trial", description=__doc__)
    parser.add_argument("--engine", default="docker", help="docker or podman (default: %(default)s)")
    parser.add_argument("--image", default="swfastedit:latest", help="image to run (default: %(default)s)")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=300.0,
        metavar="S",
        help="limit for one case in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--start-limit",
        type=float,
        default=300.0,
        metavar="S",
        help="limit until the status of /health is 200 in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--memory-gb",
        type=float,
        metavar="GIB",
        help="memory of the instance (default: 16, or the memory of this machine less 1)",
    )
    methods = ["exec", "invoke"]
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods, help="API methods (default: both)")
    parser.add_argument("--only", nargs="+", metavar="CASE", help=f"names of cases, or {NAME} (default: all)")
    parser.add_argument("--model", type=Path, metavar="TARBALL", help="model tarball, for two more rows of exec")
    parser.add_argument(
        "--input",
        type=Path,
        default=ROOT / "test/input",
        metavar="DIR",
        help="folder with one scan in images/pet (default: test/input)",
    )
    parser.add_argument(
        "--expected",
        type=Path,
        default=ROOT / "expected_output",
        metavar="DIR",
        help="folder with its mask (default: expected_output)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
