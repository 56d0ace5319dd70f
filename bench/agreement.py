"""Agreement of the default mask with the recipe's full grid in float32, and of the full grid with itself, moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swfastedit_core import load_networks, segment
from swfastedit_core.box import triple
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.evaluate.metrics import dice
from swfastedit_core.files.read import read_volume
from swfastedit_core.pipeline import OVERLAP
from swfastedit_core.preprocess import place
from swfastedit_core.system.command import say
from swfastedit_core.train.data.sources import Source, read_source
from swfastedit_core.volume import Geometry, Volume


@dataclass(frozen=True)
class Agreement:
    """The default mask of a scan beside that of the full grid in float32. A Dice is NaN where its reference is empty.

    Attributes
    ----------
    scan
        Name of the scan.
    dice
        Default mask against the full grid's.
    moved_dice
        The full grid against itself, on the same scan without its first voxels along each axis: half a step of the
        windows. This is how much the recipe depends on where the scan begins.
    precision_dice
        Default mask against the same windows in float32.
    full_label_dice, default_label_dice
        Both masks against the label; None where there is no label, or no lesion in it.
    full_ml, default_ml
        Volumes of both masks.
    differing_voxels
        Voxels in one of them only.
    windows, windows_full_grid
        Windows that ran for each.
    """

    scan: str
    dice: float
    moved_dice: float
    precision_dice: float
    full_label_dice: float | None
    default_label_dice: float | None
    full_ml: float
    default_ml: float
    differing_voxels: int
    windows: int
    windows_full_grid: int


def agreements(weights: Path, scans: Sequence[Source], *, device: str) -> list[Agreement]:
    """Segment scans by default and by the full grid; compare the masks.

    Parameters
    ----------
    weights
        Checkpoint or folder of them.
    scans
        With or without labels.
    device
        See `load_networks`.
    """
    fast = load_networks(weights, device=device)
    exact = load_networks(weights, device=device, precision="float32")
    found = []

    for source in scans:
        pet, truth = _read(source)
        ours = segment(pet, fast)
        full = segment(pet, exact, full_grid=True)
        one, other = ours.mask.array_zyx, full.mask.array_zyx
        cut = half_a_step(pet.geometry, exact[0].config)
        moved = segment(without_first(pet, cut), exact, full_grid=True).mask.array_zyx
        found.append(
            Agreement(
                scan=source.case,
                dice=dice(other, one),
                moved_dice=dice(other[cut[2] :, cut[1] :, cut[0] :], moved),
                precision_dice=dice(segment(pet, exact).mask.array_zyx, one),
                full_label_dice=None if truth is None else dice(truth, other),
                default_label_dice=None if truth is None else dice(truth, one),
                full_ml=full.lesion_ml,
                default_ml=ours.lesion_ml,
                differing_voxels=int(np.count_nonzero(one != other)),
                windows=ours.windows,
                windows_full_grid=full.windows,
            )
        )
        say(f"agreement: {source.case}: Dice {found[-1].dice:.4f}, {found[-1].differing_voxels} voxels differ")
    return found


def _read(source: Source) -> tuple[Volume, np.ndarray | None]:
    """Read a PET and its label; None where there is no label or no lesion in it."""
    if source.pet is not None and source.label is None:
        return read_volume(source.pet), None
    scan = read_source(source)
    truth = scan.label.array_zyx
    return scan.pet, truth if truth.any() else None


def half_a_step(geometry: Geometry, config: CheckpointConfig) -> tuple[int, int, int]:
    """Return half a step of the windows in voxels of a file's grid, along x, y, z; at least one voxel."""
    half = (1 - OVERLAP) / 2
    step_mm = [side * half * mm for side, mm in zip(config.window, config.preprocessing.spacing_mm, strict=True)]
    placement = place(geometry, config.preprocessing.spacing_mm)
    along = [step_mm[placement.file_axis.index(axis)] for axis in range(3)]
    return triple(max(round(mm / voxel), 1) for mm, voxel in zip(along, geometry.spacing_mm, strict=True))


def without_first(pet: Volume, cut: tuple[int, int, int]) -> Volume:
    """Leave out the first voxels along x, y, z; the others keep their place in the patient."""
    x, y, z = cut
    array = np.ascontiguousarray(pet.array_zyx[z:, y:, x:])
    geometry = pet.geometry
    origin = np.array(geometry.origin_mm) + geometry.axes_lps @ (np.array(cut) * geometry.spacing_mm)
    x_mm, y_mm, z_mm = map(float, origin)
    return Volume(array, replace(geometry, size_xyz=triple(array.shape[::-1]), origin_mm=(x_mm, y_mm, z_mm)))


def _dice(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def in_markdown(found: Sequence[Agreement]) -> str:
    """Return the figures as a table."""
    columns = (
        "scan",
        "Dice",
        "full grid against itself, moved",
        "same windows in float32",
        "full grid against the label",
        "default against the label",
        "full grid",
        "default",
        "voxels that differ",
        "windows",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [
        f"| {one.scan} | {one.dice:.4f} | {one.moved_dice:.4f} "
        f"| {one.precision_dice:.4f} | {_dice(one.full_label_dice)} | {_dice(one.default_label_dice)} "
        f"| {one.full_ml:.1f} ml | {one.default_ml:.1f} ml "
        f"| {one.differing_voxels} | {one.windows} of {one.windows_full_grid} |"
        for one in found
    ]
    return "\n".join(lines)
