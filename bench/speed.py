"""Time of whole scans, compared with the recipe built from MONAI's parts and with a matrix product."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.machine import Ceilings, measure_ceilings, sustained_gflops
from bench.programs import ProgramRun, gflop_per_window, run_program, run_reference
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_config, write_checkpoint
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.phantom import make_phantom
from swfastedit_core.system.command import say
from swfastedit_core.volume import Geometry

RECIPE_SPACING_MM = (2.03642011, 2.03642011, 3.0)
LARGE = {"400×400×326": 326, "400×400×1000": 1000}  # phantoms and their number of slices
PATIENT_MM = 1750.0  # about the height of a phantom; a longer scan has air at both ends
SEED = 5
RATES = (
    *("precision", "GFLOP a window", "network, GFLOP/s", "product of the same duration, GFLOP/s", "share"),
    *("product of two seconds, GFLOP/s", "share", "copy, GB/s"),
)
MAX_PAUSE = 30.0  # longest pause after a run, in seconds; the clock of the processor recovers
SUSTAINED_SECONDS = (2.0, 60.0)  # limits for the duration of the sustained matrix product
STAGES = ("start", "load", "read", "prepare", "plan", "compile", "network", "restore", "write")


@dataclass(frozen=True)
class Workload:
    """A scan and weights that are measured together.

    Attributes
    ----------
    scan, network
        Names of scan and weights in the tables.
    pet, weights
        Files of scan and weights.
    repeats
        Number of runs.
    reference_windows
        Number of windows that the reference runs; None: all, 0: the reference is left out.
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
    """The runs of a workload.

    Attributes
    ----------
    workload
        Scan, weights and options.
    gflop_per_window
        Operations of the convolutions of the published network for one window.
    runs
        Runs of `process.py`.
    references
        Reports of `bench.reference`.
    ceilings
        Peak rates of the machine right before each run.
    sustained_gflops
        Rate of a matrix product in the precision of the run, measured after each run and a pause. The product runs as
        long as the network did, but at least two seconds and at most a minute.
    """

    workload: Workload
    gflop_per_window: float
    runs: list[ProgramRun] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    ceilings: list[Ceilings] = field(default_factory=list)
    sustained_gflops: list[float] = field(default_factory=list)

    @property
    def precision(self) -> str:
        """Precision of the runs."""
        return str(self.runs[0].report["precision"])

    @property
    def burst_gflops(self) -> list[float]:
        """Rate of a matrix product of two seconds in the same precision, before each run."""
        return [one.gflops[self.precision] for one in self.ceilings]

    def shares_of(self, product_gflops: Sequence[float]) -> list[float]:
        """Rate of the network divided by the rate of the matrix product, for each run."""
        return [rate / product for rate, product in zip(self.gflops, product_gflops, strict=True)]

    @property
    def gflops(self) -> list[float]:
        """Rate of each run, in 10⁹ operations of the published network per second."""
        return [run.report["windows"] * self.gflop_per_window / run.seconds["network"] for run in self.runs]

    @property
    def times_faster(self) -> float | None:
        """Median of the ratios of reference and run in the same round; None without references."""
        pairs = zip(self.references, self.runs, strict=False)
        ratios = [reference["total_seconds"] / run.wall_seconds for reference, run in pairs]
        return statistics.median(ratios) if ratios else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        workload = self.workload
        return {
            "scan": workload.scan,
            "network": workload.network,
            "options": workload.options,
            "gflop_per_window": self.gflop_per_window,
            "runs": [{"wall_seconds": run.wall_seconds, **_without_paths(run.report)} for run in self.runs],
            "ceilings_before": [asdict(one) for one in self.ceilings],
            "sustained_gflops": self.sustained_gflops,
            "references": self.references,
            "times_faster": self.times_faster,
        }


def measure(workloads: Sequence[Workload], device: torch.device, work: Path) -> list[Measured]:
    """Measure in rounds, each workload once a round, so that a slow period of the machine affects all.

    Parameters
    ----------
    workloads
        Workloads to measure.
    device
        Device of the network and of the matrix products.
    work
        Folder for masks.
    """
    results = [Measured(workload, gflop_per_window(read_config(workload.weights))) for workload in workloads]
    for turn in range(max(workload.repeats for workload in workloads)):
        for measured in (one for one in results if turn < one.workload.repeats):
            workload = measured.workload
            if workload.reference_windows != 0:
                scan = _for_monai(workload.pet, work)
                measured.references.append(run_reference(scan, workload.weights, windows=workload.reference_windows))
                say(f"{workload.scan}, {workload.network}: MONAI {measured.references[-1]['total_seconds']:.0f} s")
            measured.ceilings.append(measure_ceilings(device))
            options = ("--device", device.type, *workload.options)
            measured.runs.append(run_program(workload.pet, workload.weights, work / "masks", *options))
            say(f"{workload.scan}, {workload.network}: {measured.runs[-1].wall_seconds:.1f} s")
            seconds = measured.runs[-1].seconds["network"]
            time.sleep(min(seconds, MAX_PAUSE))
            shortest, longest = SUSTAINED_SECONDS
            duration = min(max(seconds, shortest), longest)
            measured.sustained_gflops.append(sustained_gflops(device, measured.precision, seconds=duration))
    return results


def random_weights(path: Path, clicks: ClickEncoding | None = None) -> Path:
    """Write the recipe's network of 31 million parameters with random weights; the speed does not depend on them.

    Parameters
    ----------
    path
        The file.
    clicks
        For a network that takes clicks: how they are painted.
    """
    torch.manual_seed(SEED)
    channels = Channels.PET if clicks is None else Channels.PET_CLICKS
    network = NetworkConfig(in_channels=channels.count)
    config = CheckpointConfig(network, channels=channels, clicks=clicks)
    checkpoint = Checkpoint(path, config, build_network(network).state_dict())
    write_checkpoint(checkpoint, path)
    return path


def large_grid(slices: int) -> Geometry:
    """Return a grid of 400 × 400 voxels in the slice, of the recipe's spacing, with a phantom in its middle."""
    x_mm, y_mm, z_mm = RECIPE_SPACING_MM
    length_mm = (slices - 1) * z_mm
    top_mm = max(length_mm - PATIENT_MM, 0.0) / 2
    return Geometry((400, 400, slices), RECIPE_SPACING_MM, (-199.5 * x_mm, -199.5 * y_mm, top_mm - length_mm))


def write_large_scan(slices: int, path: Path) -> Path:
    """Write a phantom on a large grid."""
    from swfastedit_core.files.write import write_volume  # `bench.gpu` imports this module without SimpleITK

    write_volume(make_phantom(SEED, geometry=large_grid(slices)).pet, path)
    return path


def _for_monai(pet: Path, work: Path) -> Path:
    """Return a copy of a scan that MONAI reads with nibabel: compressed NIfTI."""
    from swfastedit_core.files.read import read_volume
    from swfastedit_core.files.write import write_volume  # as above

    path = work / f"{pet.parent.name}-{pet.stem}.nii.gz"
    if not path.exists():
        write_volume(read_volume(pet), path)
    return path


def to_markdown(results: Sequence[Measured]) -> str:
    """Return the figures as tables."""
    columns = ("precision", "windows", "seconds", "share of the network", "first window", "peak memory")
    lines = _head((*columns, "MONAI", "times faster"))
    for one in results:
        report = one.runs[0].report
        wall = [run.wall_seconds for run in one.runs]
        reference = [timing["total_seconds"] for timing in one.references]
        lines.append(
            f"| {one.workload.scan} | {one.workload.network} | {one.precision} "
            f"| {report['windows']} of {report['windows_full_grid']} | {format_seconds(wall)} "
            f"| {statistics.median(run.network_share for run in one.runs):.0%} "
            f"| {statistics.median(run.first_window_seconds for run in one.runs):.1f} s "
            f"| {max(run.report['peak_memory_mb'] for run in one.runs) / 1000:.2f} GB "
            f"| {format_seconds(reference) if reference else ''} | {f'{one.times_faster:.1f}' if reference else ''} |"
        )
    lines += ["", *_head(STAGES)]
    for one in results:
        stages = (statistics.median(run.seconds[stage] for run in one.runs) for stage in STAGES)
        lines.append(
            f"| {one.workload.scan} | {one.workload.network} | " + " | ".join(f"{s:.2f}" for s in stages) + " |"
        )
    lines += [
        "",
        *_head(RATES),
    ]
    for one in results:
        products = [one.sustained_gflops, one.burst_gflops]
        shares = " | ".join(f"{statistics.median(each):.0f} | {_shares(one.shares_of(each))}" for each in products)
        lines.append(
            f"| {one.workload.scan} | {one.workload.network} | {one.precision} | {one.gflop_per_window:.0f} "
            f"| {statistics.median(one.gflops):.0f} | {shares} "
            f"| {statistics.median(each.copy_gb_per_s for each in one.ceilings):.1f} |"
        )
    return "\n".join(lines)


def format_seconds(values: Sequence[float]) -> str:
    """Return the median and, of several values, the smallest and the largest."""
    middle = f"{statistics.median(values):.1f} s"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"


def _shares(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.0%}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.0%} to {max(values):.0%})"


def _head(columns: Sequence[str]) -> list[str]:
    return [" | ".join(("| scan | weights", *columns)) + " |", "|---" * (2 + len(columns)) + "|"]


def _without_paths(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("pet", "output", "weights", "ct")}
