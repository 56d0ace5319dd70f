"""Time of a scan against the volume of the body."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.programs import ProgramRun, run_program
from swfastedit_core.body import find_body, mean_cells
from swfastedit_core.checkpoint import read_config
from swfastedit_core.files.read import read_volume
from swfastedit_core.files.write import write_volume
from swfastedit_core.preprocess import place, to_network_grid
from swfastedit_core.system.command import say
from swfastedit_core.volume import Volume

LENGTHS = (0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # relative to the scan


@dataclass(frozen=True)
class Point:
    """Figures of the scan at one length.

    Attributes
    ----------
    length
        Length relative to the original scan.
    body_l
        Volume of the patient in the scan, in litres.
    windows
        Number of windows.
    network_seconds, wall_seconds
        Medians of the runs.
    """

    length: float
    body_l: float
    windows: int
    network_seconds: float
    wall_seconds: float


def measure(scan: Path, weights: Path, work: Path, *, device: torch.device, repeats: int) -> list[Point]:
    """Measure shortened and lengthened versions of a scan.

    Parameters
    ----------
    scan
        PET. `stretched` changes its length.
    weights
        Checkpoint.
    work
        Folder for scans and masks.
    device
        Device of the network.
    repeats
        Runs of each length.
    """
    pet, spacing_mm = read_volume(scan), read_config(weights).preprocessing.spacing_mm
    bodies: dict[float, float] = {}
    for length in LENGTHS:
        longer = stretched(pet, length)
        write_volume(longer, _path(work, length))
        bodies[length] = body_litres(longer, spacing_mm)
    runs: dict[float, list[ProgramRun]] = {length: [] for length in LENGTHS}
    for _ in range(repeats):  # in rounds: a slow period of the machine affects all lengths
        for length, done in runs.items():
            done.append(run_program(_path(work, length), weights, work / "masks", "--device", device.type))
            say(f"length {length:g}: {done[-1].report['windows']} windows, {done[-1].wall_seconds:.1f} s")
    return [_point(length, bodies[length], done) for length, done in runs.items()]


def _path(work: Path, length: float) -> Path:
    return work / f"length-{length:g}.mha"


def _point(length: float, body_l: float, runs: Sequence[ProgramRun]) -> Point:
    network, wall = [run.seconds["network"] for run in runs], [run.wall_seconds for run in runs]
    return Point(length, body_l, runs[0].report["windows"], statistics.median(network), statistics.median(wall))


def stretched(pet: Volume, length: float) -> Volume:
    """Return a scan of another length.

    A shorter scan has the middle slices. A longer scan has all slices, then their mirror image, and so on.
    """
    array = pet.array_zyx
    count, wanted = len(array), round(len(array) * length)
    if wanted <= count:
        first = (count - wanted) // 2
        array = array[first : first + wanted]
    else:
        turns = -(-wanted // count)
        array = np.concatenate([array[:: 1 if turn % 2 == 0 else -1] for turn in range(turns)])[:wanted]
    x, y, _ = pet.geometry.size_xyz
    return Volume(np.ascontiguousarray(array), replace(pet.geometry, size_xyz=(x, y, wanted)))


def body_litres(pet: Volume, spacing_mm: tuple[float, float, float]) -> float:
    """Return the volume of the body that the window plan covers."""
    suv = to_network_grid(pet, place(pet.geometry, spacing_mm), torch.device("cpu"))
    body = find_body(mean_cells(suv, spacing_mm))
    assert body is not None
    return float(np.count_nonzero(body.cells) * np.prod(body.cell) * np.prod(spacing_mm) / 1e6)


def r_squared(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the coefficient of determination of a straight line through the points."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def plot(points: Sequence[Point], path: Path) -> None:
    """Write a picture: time against body volume and against the number of windows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    seconds = [point.network_seconds for point in points]
    for axes, values, label in zip(
        figure.subplots(1, 2, sharey=True),
        ([point.body_l for point in points], [float(point.windows) for point in points]),
        ("body in the scan, litres", "windows"),
        strict=True,
    ):
        slope, offset = np.polyfit(values, seconds, 1)
        ends = np.array([0.0, max(values) * 1.05])
        axes.plot(ends, slope * ends + offset, color="0.7", zorder=1)
        axes.scatter(values, seconds, color="tab:blue", zorder=2)
        axes.set_xlabel(label)
        axes.set_xlim(0, ends[1])
        axes.set_ylim(0, max(seconds) * 1.1)
        axes.set_title(f"R² = {r_squared(values, seconds):.4f}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("network, seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def to_markdown(points: Sequence[Point]) -> str:
    """Return the figures as a table."""
    lines = ["| length of the scan | body | windows | network | whole process |", "|---" * 5 + "|"]
    lines += [
        f"| {point.length:g} | {point.body_l:.1f} l | {point.windows} | {point.network_seconds:.1f} s "
        f"| {point.wall_seconds:.1f} s |"
        for point in points
    ]
    fit = r_squared([point.body_l for point in points], [point.network_seconds for point in points])
    windows = r_squared([point.body_l for point in points], [float(point.windows) for point in points])
    return "\n".join([*lines, "", f"Against body volume: network time R² = {fit:.4f}, windows R² = {windows:.4f}"])
