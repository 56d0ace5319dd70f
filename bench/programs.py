"""Runs programs of this repository in separate processes, for their reports and times."""

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
MAX_OUTPUT = 1000  # characters of the output of a failed program in the error message
STAGES_BEFORE_NETWORK = ("start", "load", "read", "prepare", "plan", "compile")


@dataclass(frozen=True)
class ProgramRun:
    """One run of `process.py`.

    Attributes
    ----------
    wall_seconds
        From the start of the process to its end, measured by this process.
    report
        The JSON that it printed.
    mask
        The file that it wrote.
    """

    wall_seconds: float
    report: dict[str, Any]
    mask: Path

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage, as reported."""
        seconds: dict[str, float] = self.report["seconds"]
        return seconds

    @property
    def first_window_seconds(self) -> float:
        """Seconds from the start of the process to the first window."""
        return sum(self.seconds[stage] for stage in STAGES_BEFORE_NETWORK)

    @property
    def network_share(self) -> float:
        """Share of the network in the wall time."""
        return self.seconds["network"] / self.wall_seconds


def run_program(scan: Path, weights: Path, output: Path, *options: str) -> ProgramRun:
    """Segment a scan with `process.py`.

    Raises
    ------
    UserError
        If the program fails.
    """
    program = [str(ROOT / "process.py"), "--pet", str(scan), "--weights", str(weights), "--output", str(output)]
    start = time.perf_counter()
    report = run_for_report([*program, "--quiet", *options])
    return ProgramRun(time.perf_counter() - start, report, Path(report["output"]))


def run_reference(scan: Path, weights: Path, *, windows: int | None) -> dict[str, Any]:
    """Run the recipe built from MONAI's parts; see `bench.reference`.

    Raises
    ------
    UserError
        If it fails.
    """
    limit = [] if windows is None else ["--windows", str(windows)]
    return run_for_report(["-m", "bench.reference", str(scan), str(weights), *limit])


def gflop_per_window(config: CheckpointConfig) -> float:
    """Count the operations of the convolutions for one window, in 10⁹; a multiplication and an addition are two.

    They are counted in the published network. The OpenVINO graph needs 11 % fewer operations.
    """
    with torch.device("meta"):
        network = build_network(config.network)
        window = torch.empty((1, config.network.in_channels, *config.window))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(window)
    return float(counter.get_total_flops()) / 1e9


def run_for_report(arguments: list[str]) -> dict[str, Any]:
    """Run Python with arguments; return the JSON object in its last line.

    Raises
    ------
    UserError
        If it fails.
    """
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        output = f"{done.stderr.strip()} {done.stdout.strip()[-MAX_OUTPUT:]}".strip()
        raise UserError(f"{' '.join(arguments[:4])}: {' '.join(output.split())}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report
