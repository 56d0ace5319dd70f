"""Measure the time of a case with both API methods under the platform's shim: `python test/time_api_methods.py`.

A case is timed as the platform does: from the download of its scan to the upload of its mask. For exec this contains
the start of the program; for invoke the second that the shim waits for the program's log. "the rest" is the start of
the shim, its transfers and, for invoke, the start of the server until the shim finds it healthy.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from places import ROOT
from shim import Shim, UnavailableError, health_calls, make_environment, running_bucket


def measure(python: Path, method: str, cases: int) -> str:
    """Run tasks with the shipped scan and weights; return a row of the table."""
    (path,) = (ROOT / "test/input/images/pet").glob("*.mha")
    with tempfile.TemporaryDirectory() as top, running_bucket(python) as bucket:
        shim = Shim(python, bucket, Path(top), method, [])
        tasks = [shim.task(str(number), path.read_bytes()) for number in range(cases)]
        begin = time.monotonic()
        done = shim.invoke(*tasks)
        whole = time.monotonic() - begin
        results = [bucket.result(str(number)) for number in range(cases)]
        if not all(result and result["return_code"] == 0 for result in results):
            sys.exit(done.stdout + done.stderr)
        seconds = [duration_seconds(str(result[f"{method}_duration"])) for result in results if result]
    rest = whole - sum(seconds)
    return f"{method:8} {min(seconds):8.2f} s {median(seconds):8.2f} s {rest:10.2f} s {health_calls(done.stdout):8}"


def duration_seconds(text: str) -> float:
    """Read a duration of ISO 8601, such as PT1M2.5S."""
    match = re.fullmatch(r"PT(?:(\d+)M)?(?:([\d.]+)S)?", text)
    if not match:
        raise ValueError(f"{text}: expected a duration of less than an hour")
    return 60 * int(match[1] or 0) + float(match[2] or 0)


def main() -> None:
    """Print a table of both API methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5, help="calls with the scan in test/input (default: %(default)s)")
    options = parser.parse_args()
    try:
        python = make_environment()
    except UnavailableError as reason:
        sys.exit(str(reason))
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    print(f"{names[0] if names else 'CPU'}, {len(os.sched_getaffinity(0))} processors; {options.cases} cases each")
    print("method   fastest case     median     the rest   health calls")
    for method in ("exec", "invoke"):
        print(measure(python, method, options.cases), flush=True)


if __name__ == "__main__":
    main()
