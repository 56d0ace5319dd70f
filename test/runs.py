"""The training command, started by tests, and what its runs leave."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

from places import ROOT

TRAIN = [sys.executable, "-m", "swfastedit_core.train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
NARROW = [
    *("--filters", "4", "4", "4", "4", "4", "4", "--spacing", "4", "4", "4", "--suv-range", "0", "10"),
    *("--window", "32", "32", "32", "--crop", "32", "32", "32", "--precision", "float32", "--device", "cpu"),
    *("--batch", "2", "--seed", "1", "--preparers", "1", "--loaders", "0"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}


def started(*arguments, prefix=TRAIN, **how):
    command = [*prefix, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
    )


def finished(*arguments, prefix=TRAIN):
    process = started(*arguments, prefix=prefix)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(run):
    return {int(row["step"]): float(row["loss"]) for row in metrics(run) if row["loss"]}
