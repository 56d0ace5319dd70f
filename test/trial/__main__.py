"""Try an image as grand-challenge.org would, with both of its API methods; print a table.

Exit code 1 where a check does not hold.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trial.cases import cases
from trial.checks import failures
from trial.containers import Engine
from trial.limits import GIB, MIB, Limits, default_memory
from trial.table import Trial

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: containers and folders are removed on the way
    try:
        return _tried(options)
    except RuntimeError as error:  # of the engine
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _tried(options: argparse.Namespace) -> int:
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
    for row in trial.table(options.methods):
        wrong = failures(row.checks)
        failed += len(wrong)
        result = f"{len(wrong)} WRONG" if wrong else f"ok ({len(row.checks)})"
        seconds = "" if row.seconds is None else f"{row.seconds:.1f} s"
        peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e9:.2f} GB"
        print(f"{row.name:34} {result:8} {seconds:>8} {peak:>9}  {row.remark}".rstrip(), flush=True)
        for check in wrong:
            print(f"    FAILED {check.name}: {check.found}", flush=True)
    for warning in engine.warnings:
        print(f"{options.engine} says: {warning}")
    verdict = f"{failed} check(s) FAILED" if failed else "all checks hold"
    print(f"{options.image}: {verdict}, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trial", description=__doc__)
    parser.add_argument("--engine", default="docker", help="docker or podman (default: %(default)s)")
    parser.add_argument("--image", default="swfastedit:latest", help="default: %(default)s")
    parser.add_argument(
        "--time-limit", type=float, default=300.0, metavar="S", help="seconds a case (default: %(default)s)"
    )
    parser.add_argument(
        "--start-limit", type=float, default=300.0, metavar="S", help="seconds until /health is 200 (default: the same)"
    )
    parser.add_argument(
        "--memory-gb", type=float, metavar="GIB", help="of the instance (default: 16, or what this machine has less 1)"
    )
    parser.add_argument("--methods", nargs="+", default=["exec", "invoke"], choices=["exec", "invoke"])
    parser.add_argument("--only", nargs="+", metavar="CASE", help="names of cases (default: all)")
    parser.add_argument("--model", type=Path, metavar="TARBALL", help="weights to upload, for two more cases")
    parser.add_argument("--input", type=Path, default=ROOT / "test/input", metavar="DIR", help="the shipped case")
    parser.add_argument("--expected", type=Path, default=ROOT / "expected_output", metavar="DIR", help="and its mask")
    return parser


if __name__ == "__main__":
    sys.exit(main())
