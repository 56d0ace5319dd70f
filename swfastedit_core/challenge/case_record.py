"""The record of a case: what was done and found, for people and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """The result of a case: files, settings, times, lesion volume, warnings.

    Attributes
    ----------
    pet
        The scan.
    output
        File of the mask.
    ct
        The CT that was used.
    clicks
        Number of different voxels that are clicked, by the kind's name in click files; None if no network takes
        clicks.
    report
        Folder of the report.
    engine, device, precision
        Library and device that ran the networks, and their number format.
    weights
        File of each network.
    demonstration
        Whether a network is a demonstration and not meant for patients.
    windows, windows_full_grid
        Windows that ran, and those of the recipe's grid over the whole volume.
    seconds
        Wall time by stage, and in total.
    peak_memory_mb, peak_gpu_memory_mb
        Peak resident memory during the case on Linux; elsewhere the peak of the process since its start. The second
        is the peak GPU memory on CUDA, otherwise None.
    lesion_voxels, lesion_volume_ml
        Size of the mask.
    warnings
        What is assumed about the weights, and what is odd about the scan.
    """

    pet: Path
    output: Path
    ct: Path | None
    clicks: dict[str, int] | None
    report: Path | None
    engine: str
    device: str
    precision: str
    weights: tuple[str, ...]
    demonstration: bool
    windows: int
    windows_full_grid: int
    seconds: dict[str, float]
    peak_memory_mb: int
    peak_gpu_memory_mb: int | None
    lesion_voxels: int
    lesion_volume_ml: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the record as values for JSON; fields that are None are left out."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        plain["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}
