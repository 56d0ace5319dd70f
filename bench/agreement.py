"""Agreement of the default mask with the mask of the full grid in float32, and of the full grid with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swfastedit_core import load_networks, segment
from swfastedit_core.box import triple
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.files.read import read_volume
from swfastedit_core.metrics.overlap import agreement_dice, dice
from swfastedit_core.planning import OVERLAP
from swfastedit_core.preprocess import place
from swfastedit_core.system.command import say
from swfastedit_core.train.data.sources import Source, read_source
from swfastedit_core.volume import Geometry, Volume


@dataclass(frozen=True)
class Agreement:
    """Agreement of the masks of one scan.

    Attributes
    ----------
    scan
        Name of the scan.
    dice
        Dice of the default mask and the mask of the full grid in float32.
    moved_dice
        Dice of the full grid and the full grid of the cropped scan. Half a window step is cropped at the start of each
        axis. This shows how much the recipe's own mask depends on the position of the windows.
    precision_dice
        Dice of the default mask and the mask of the same windows in float32.
    full_label_dice, default_label_dice
        Dice of each mask and the label; None if there is no label, or no lesion in it.
    full_ml, default_ml
        Volumes of the two masks.
    differing_voxels
        Number of voxels in exactly one of the two masks.
    windows, windows_full_grid
        Number of windows for each mask.
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


def compare_masks(weights: Path, scans: Sequence[Source], *, device: str) -> list[Agreement]:
    """Segment scans with the default options and on the full grid, and compare the masks.

    Parameters
    ----------
    weights
        Checkpoint or folder of checkpoints.
    scans
        With labels or without.
    device
        See `load_networks`.
    """
    default = load_networks(weights, device=device)
    exact = load_networks(weights, device=device, precision="float32")
    agreements = []

    for source in scans:
        pet, label = _read(source)
        ours = segment(pet, default)
        full = segment(pet, exact, full_grid=True)
        mask, full_mask = ours.mask.array_zyx, full.mask.array_zyx
        cut = half_a_step(pet.geometry, exact[0].config)
        moved = segment(without_first(pet, cut), exact, full_grid=True).mask.array_zyx
        agreement = Agreement(
            scan=source.case,
            dice=agreement_dice(full_mask, mask),
            moved_dice=agreement_dice(full_mask[cut[2] :, cut[1] :, cut[0] :], moved),
            precision_dice=agreement_dice(segment(pet, exact).mask.array_zyx, mask),
            full_label_dice=None if label is None else dice(label, full_mask),
            default_label_dice=None if label is None else dice(label, mask),
            full_ml=full.lesion_ml,
            default_ml=ours.lesion_ml,
            differing_voxels=int(np.count_nonzero(mask != full_mask)),
            windows=ours.windows,
            windows_full_grid=full.windows,
        )
        say(f"agreement: {source.case}: Dice {agreement.dice:.4f}, {agreement.differing_voxels} voxels differ")
        agreements.append(agreement)
    return agreements


def _read(source: Source) -> tuple[Volume, np.ndarray | None]:
    """Read a PET and its label; None if there is no label or no lesion in it."""
    if source.pet is not None and source.label is None:
        return read_volume(source.pet), None
    scan = read_source(source)
    label = scan.label.array_zyx
    return scan.pet, label if label.any() else None


def half_a_step(geometry: Geometry, config: CheckpointConfig) -> tuple[int, int, int]:
    """Return half a window step in voxels of the file along x, y, z; each is at least 1."""
    half = (1 - OVERLAP) / 2
    step_mm = [side * half * mm for side, mm in zip(config.window, config.preprocessing.spacing_mm, strict=True)]
    placement = place(geometry, config.preprocessing.spacing_mm)
    along = [step_mm[placement.file_axis.index(axis)] for axis in range(3)]
    return triple(max(round(mm / voxel), 1) for mm, voxel in zip(along, geometry.spacing_mm, strict=True))


def without_first(pet: Volume, cut: tuple[int, int, int]) -> Volume:
    """Return a scan without its first voxels along x, y, z. The other voxels keep their position in the patient."""
    x, y, z = cut
    array = np.ascontiguousarray(pet.array_zyx[z:, y:, x:])
    geometry = pet.geometry
    origin = np.array(geometry.origin_mm) + geometry.axes_lps @ (np.array(cut) * geometry.spacing_mm)
    x_mm, y_mm, z_mm = map(float, origin)
    return Volume(array, replace(geometry, size_xyz=triple(array.shape[::-1]), origin_mm=(x_mm, y_mm, z_mm)))


def to_markdown(agreements: Sequence[Agreement]) -> str:
    """Return the figures as a table; `docs/performance.md` explains the columns."""
    columns = (
        "scan",
        "default, full grid",
        "full grid, shifted",
        "default, float32",
        "full grid, label",
        "default, label",
        "volume, full grid",
        "volume, default",
        "voxels that differ",
        "windows",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [
        f"| {one.scan} | {one.dice:.4f} | {one.moved_dice:.4f} "
        f"| {one.precision_dice:.4f} | {_format_dice(one.full_label_dice)} | {_format_dice(one.default_label_dice)} "
        f"| {one.full_ml:.1f} ml | {one.default_ml:.1f} ml "
        f"| {one.differing_voxels} | {one.windows} of {one.windows_full_grid} |"
        for one in agreements
    ]
    return "\n".join(lines)


def _format_dice(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
