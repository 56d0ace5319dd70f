"""One run of a program in a process of its own: its report, its wall time and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.model import build_network

ROOT = Path(__file__).parent.parent
TOLD = 1000  # characters of what a program said before it failed
BEFORE_THE_FIRST_WINDOW = ("start", "load", "read", "prepare", "plan", "compile")


@dataclass(frozen=True)
class Run:
    """A run of `process.py`.

    Attributes
    ----------
    wall_seconds
        From outside, from starting the process to its end.
    report
        What it printed.
    mask
        File that it wrote.
    """

    wall_seconds: float
    report: dict[str, Any]
    mask: Path

    @property
    def seconds(self) -> dict[str, float]:
        """By stage."""
        seconds: dict[str, float] = self.report["seconds"]
        return seconds

    @property
    def first_window_seconds(self) -> float:
        """From the start of the process to the first window."""
        return sum(self.seconds[stage] for stage in BEFORE_THE_FIRST_WINDOW)

    @property
    def network_share(self) -> float:
        """Of the network in the wall time."""
        return self.seconds["network"] / self.wall_seconds


def run_program(scan: Path, weights: Path, output: Path, *options: str) -> Run:
    """Segment a scan as a user does.

    Raises
    ------
    UserError
        If the program fails.
    """
    program = [str(ROOT / "process.py"), "--pet", str(scan), "--weights", str(weights), "--output", str(output)]
    start = time.perf_counter()
    report = _report_of([*program, "--quiet", *options])
    return Run(time.perf_counter() - start, report, Path(report["output"]))


def run_reference(scan: Path, weights: Path, *, windows: int | None) -> dict[str, Any]:
    """Run the recipe made of MONAI's parts; see `bench.reference`.

    Raises
    ------
    UserError
        If it fails.
    """
    few = [] if windows is None else ["--windows", str(windows)]
    return _report_of(["-m", "bench.reference", str(scan), str(weights), *few])


def gflop_per_window(config: CheckpointConfig) -> float:
    """Count the operations of a window's convolutions, in 10⁹: two for each multiplication and addition.

    Those of the published network, whatever an engine makes of it: OpenVINO's graph does a ninth less.
    """
    with torch.device("meta"):
        network = build_network(config.network)
        window = torch.empty((1, config.network.in_channels, *config.window))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(window)
    return float(counter.get_total_flops()) / 1e9


def _report_of(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        told = f"{done.stderr.strip()} {done.stdout.strip()[-TOLD:]}".strip()
        raise UserError(f"{' '.join(arguments[:4])}: {' '.join(told.split())}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report
