"""How long scans take, beside the recipe made of MONAI's parts, in one session of measurements."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.machine import Ceilings, measure_ceilings, sustained_gflops
from bench.runs import Run, gflop_per_window, run_program, run_reference
from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, read_config, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.phantom import make_phantom
from swfastedit_core.system.command import say
from swfastedit_core.volume import Geometry

RECIPE_SPACING_MM = (2.03642011, 2.03642011, 3.0)
LARGE = {"400×400×326": 326, "400×400×1000": 1000}  # slices of phantoms
PATIENT_MM = 1750.0  # of the phantoms, about: a longer scan shows more of the table
SEED = 5
RATES = (
    *("precision", "GFLOP a window", "GFLOP/s", "product as long, GFLOP/s", "share"),
    *("product of two seconds, GFLOP/s", "share", "copy, GB/s"),
)
PAUSE = 30.0  # seconds, at most, after a run: processors that slowed down recover
KEPT_UP = (2.0, 60.0)  # seconds, for which a matrix product is kept up: as long as the network, within these
STAGES = ("start", "load", "read", "prepare", "plan", "compile", "network", "restore", "write")


@dataclass(frozen=True)
class Case:
    """A scan and weights to measure with.

    Attributes
    ----------
    scan, network
        As in the table.
    pet, weights
        Their files.
    repeats
        Runs.
    reference_windows
        Windows that the reference runs, all where None; it is left out where 0.
    options
        More options of `process.py`.
    """

    scan: str
    network: str
    pet: Path
    weights: Path
    repeats: int = 1
    reference_windows: int | None = 0
    options: tuple[str, ...] = ()


@dataclass
class Measured:
    """What the runs of a case came to.

    Attributes
    ----------
    runs
        Of `process.py`.
    references
        Of `bench.reference`, as it printed them.
    ceilings
        Of the machine, right before each run.
    sustained_gflops
        Of the matrix product in the run's precision, kept up for as long as the network ran, two seconds at least and
        a minute at most: after each run, and a pause.
    gflop_per_window
        Operations of a window's convolutions in the published network.
    """

    case: Case
    gflop_per_window: float
    runs: list[Run] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    ceilings: list[Ceilings] = field(default_factory=list)
    sustained_gflops: list[float] = field(default_factory=list)

    @property
    def precision(self) -> str:
        """What the runs chose."""
        return str(self.runs[0].report["precision"])

    @property
    def burst_gflops(self) -> list[float]:
        """Rate of the matrix product in the same precision, for two seconds before each run."""
        return [one.gflops[self.precision] for one in self.ceilings]

    def shares_of(self, product_gflops: Sequence[float]) -> list[float]:
        """Rate of the network as a share of that of the matrix product, of each run."""
        return [rate / product for rate, product in zip(self.gflops, product_gflops, strict=True)]

    @property
    def gflops(self) -> list[float]:
        """Rate at which the published network's operations are done, in 10⁹ a second, of each run."""
        return [run.report["windows"] * self.gflop_per_window / run.seconds["network"] for run in self.runs]

    @property
    def times_faster(self) -> float | None:
        """How many times faster than the reference of the same round, the median; None without references."""
        pairs = zip(self.references, self.runs, strict=False)
        ratios = [reference["total_seconds"] / run.wall_seconds for reference, run in pairs]
        return statistics.median(ratios) if ratios else None

    def to_json(self) -> dict[str, Any]:
        """Return everything that was measured."""
        case = self.case
        return {
            "scan": case.scan,
            "network": case.network,
            "options": case.options,
            "gflop_per_window": self.gflop_per_window,
            "runs": [{"wall_seconds": run.wall_seconds, **_without_paths(run.report)} for run in self.runs],
            "ceilings_before": [asdict(one) for one in self.ceilings],
            "sustained_gflops": self.sustained_gflops,
            "references": self.references,
            "times_faster": self.times_faster,
        }


def measure(cases: Sequence[Case], device: torch.device, work: Path) -> list[Measured]:
    """Measure in rounds of every case once, so that all see the same machine.

    Parameters
    ----------
    cases
        What.
    device
        Where.
    work
        Folder for masks.
    """
    found = [Measured(case, gflop_per_window(read_config(case.weights))) for case in cases]
    for turn in range(max(case.repeats for case in cases)):
        for measured in (one for one in found if turn < one.case.repeats):
            case = measured.case
            if case.reference_windows != 0:
                scan = _for_monai(case.pet, work)
                measured.references.append(run_reference(scan, case.weights, windows=case.reference_windows))
                say(f"{case.scan}, {case.network}: MONAI {measured.references[-1]['total_seconds']:.0f} s")
            measured.ceilings.append(measure_ceilings(device))
            options = ("--device", device.type, *case.options)
            measured.runs.append(run_program(case.pet, case.weights, work / "masks", *options))
            say(f"{case.scan}, {case.network}: {measured.runs[-1].wall_seconds:.1f} s")
            seconds = measured.runs[-1].seconds["network"]
            time.sleep(min(seconds, PAUSE))
            kept_up = min(max(seconds, KEPT_UP[0]), KEPT_UP[1])
            measured.sustained_gflops.append(sustained_gflops(device, measured.precision, seconds=kept_up))
    return found


def random_weights(path: Path) -> Path:
    """Write the recipe's network of 31 million parameters with random weights: as fast as any others."""
    torch.manual_seed(SEED)
    network = NetworkConfig()
    checkpoint = Checkpoint(path, CheckpointConfig(network), build_network(network).state_dict())
    write_checkpoint(checkpoint, path)
    return path


def large_grid(slices: int) -> Geometry:
    """Return 400 × 400 voxels of the recipe's spacing, with a phantom's patient in the middle of the slices."""
    x_mm, y_mm, z_mm = RECIPE_SPACING_MM
    length_mm = (slices - 1) * z_mm
    top_mm = max(length_mm - PATIENT_MM, 0.0) / 2
    return Geometry((400, 400, slices), RECIPE_SPACING_MM, (-199.5 * x_mm, -199.5 * y_mm, top_mm - length_mm))


def large_scan(slices: int, path: Path) -> Path:
    """Write a phantom on a large grid."""
    from swfastedit_core.files.write import (
        write_volume,  # here: `bench.gpu` takes grids from this file and has no SimpleITK
    )

    write_volume(make_phantom(SEED, geometry=large_grid(slices)).pet, path)
    return path


def _for_monai(pet: Path, work: Path) -> Path:
    """Return a scan as a file that MONAI reads, with nibabel: compressed NIfTI."""
    from swfastedit_core.files.read import read_volume
    from swfastedit_core.files.write import write_volume  # as above

    path = work / f"{pet.parent.name}-{pet.stem}.nii.gz"
    if not path.exists():
        write_volume(read_volume(pet), path)
    return path


def in_markdown(found: Sequence[Measured]) -> str:
    """Return the figures as tables."""
    columns = ("precision", "windows", "seconds", "network", "first window", "peak memory", "MONAI", "times faster")
    lines = _head(columns)
    for one in found:
        report = one.runs[0].report
        wall = [run.wall_seconds for run in one.runs]
        reference = [timing["total_seconds"] for timing in one.references]
        lines.append(
            f"| {one.case.scan} | {one.case.network} | {one.precision} "
            f"| {report['windows']} of {report['windows_full_grid']} | {spread(wall)} "
            f"| {statistics.median(run.network_share for run in one.runs):.0%} "
            f"| {statistics.median(run.first_window_seconds for run in one.runs):.1f} s "
            f"| {max(run.report['peak_memory_mb'] for run in one.runs) / 1000:.2f} GB "
            f"| {spread(reference) if reference else ''} | {f'{one.times_faster:.1f}' if reference else ''} |"
        )
    lines += ["", *_head(STAGES)]
    for one in found:
        stages = (statistics.median(run.seconds[stage] for run in one.runs) for stage in STAGES)
        lines.append(f"| {one.case.scan} | {one.case.network} | " + " | ".join(f"{s:.2f}" for s in stages) + " |")
    lines += [
        "",
        *_head(RATES),
    ]
    for one in found:
        products = [one.sustained_gflops, one.burst_gflops]
        shares = " | ".join(f"{statistics.median(each):.0f} | {_shares(one.shares_of(each))}" for each in products)
        lines.append(
            f"| {one.case.scan} | {one.case.network} | {one.precision} | {one.gflop_per_window:.0f} "
            f"| {statistics.median(one.gflops):.0f} | {shares} "
            f"| {statistics.median(each.copy_gb_per_s for each in one.ceilings):.1f} |"
        )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Return the median, with the smallest and the largest where there are several."""
    middle = f"{statistics.median(values):.1f} s"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"


def _shares(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.0%}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.0%} to {max(values):.0%})"


def _head(columns: Sequence[str]) -> list[str]:
    return [" | ".join(("| scan | network", *columns)) + " |", "|---" * (2 + len(columns)) + "|"]


def _without_paths(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("output", "weights", "ct")}
