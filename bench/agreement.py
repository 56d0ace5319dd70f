"""Whether the mask that users get is that of the recipe's full grid in float32, and how far that one is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.overlap import overlap
from swfastedit_core import load_networks, segment
from swfastedit_core.box import triple
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.command import say
from swfastedit_core.files import read_volume
from swfastedit_core.pipeline import OVERLAP
from swfastedit_core.preprocess import place
from swfastedit_core.train.sources import find_sources, read_source
from swfastedit_core.volume import Geometry, Volume


@dataclass(frozen=True)
class Agreement:
    """Of two masks of a scan.

    Attributes
    ----------
    scan
        Its name.
    dice
        Of the default mask against that of the full grid in float32; 1 where both are empty.
    moved_dice
        Of the full grid's mask against that of the full grid on the same scan without its first voxels along each axis,
        as many as make half a step of the windows: what the recipe itself leaves to the edge of the scan.
    precision_dice
        Of the default mask against that of the same windows in float32.
    full_ml, default_ml
        Volumes of the two masks.
    differing_voxels
        Voxels in one of them only.
    windows, windows_full_grid
        That ran for each.
    """

    scan: str
    dice: float
    moved_dice: float
    precision_dice: float
    full_ml: float
    default_ml: float
    differing_voxels: int
    windows: int
    windows_full_grid: int


def agreements(weights: Path, scans: Sequence[Path], *, phantoms: int, seed: int, device: str) -> list[Agreement]:
    """Compare on files and on phantoms.

    Parameters
    ----------
    weights
        Checkpoint or folder of them.
    scans
        PET files; one is called by its folder's name.
    phantoms, seed
        How many, of which seed.
    device
        See `load_networks`.
    """
    fast = load_networks(weights, device=device)
    exact = load_networks(weights, device=device, precision="float32")
    found = []

    def compare(name: str, pet: Volume) -> None:
        ours = segment(pet, fast)
        full = segment(pet, exact, full_grid=True)
        one, other = ours.mask.array_zyx, full.mask.array_zyx
        cut = half_a_step(pet.geometry, exact[0].config)
        moved = segment(without_first(pet, cut), exact, full_grid=True).mask.array_zyx
        same = segment(pet, exact).mask.array_zyx
        scores = overlap(other, one), overlap(other[cut[2] :, cut[1] :, cut[0] :], moved), overlap(same, one)
        differing = int(np.count_nonzero(one != other))
        found.append(Agreement(name, *scores, full.lesion_ml, ours.lesion_ml, differing, ours.windows, full.windows))
        say(
            f"agreement: {name}: Dice {scores[0]:.4f}, {differing} voxels differ; full grid, moved: {scores[1]:.4f}; "
            f"the same windows in float32: {scores[2]:.4f}"
        )

    for path in scans:
        compare(path.parent.name, read_volume(path))
    for source in find_sources(f"phantom:{phantoms}", seed=seed) if phantoms else []:
        compare(source.case, read_source(source).pet)
    return found


def half_a_step(geometry: Geometry, config: CheckpointConfig) -> tuple[int, int, int]:
    """Return the voxels along x, y, z of a file's grid that make half a step of the windows, one at least."""
    half = (1 - OVERLAP) / 2
    step_mm = [side * half * mm for side, mm in zip(config.window, config.preprocessing.spacing_mm, strict=True)]
    placement = place(geometry, config.preprocessing.spacing_mm)
    along = [step_mm[placement.file_axis.index(axis)] for axis in range(3)]
    return triple(max(round(mm / voxel), 1) for mm, voxel in zip(along, geometry.spacing_mm, strict=True))


def without_first(pet: Volume, cut: tuple[int, int, int]) -> Volume:
    """Leave out the first voxels along x, y, z; what is left stays where it is in the patient."""
    x, y, z = cut
    array = np.ascontiguousarray(pet.array_zyx[z:, y:, x:])
    geometry = pet.geometry
    origin = np.array(geometry.origin_mm) + geometry.axes_lps @ (np.array(cut) * geometry.spacing_mm)
    x_mm, y_mm, z_mm = map(float, origin)
    return Volume(array, replace(geometry, size_xyz=triple(array.shape[::-1]), origin_mm=(x_mm, y_mm, z_mm)))


def in_markdown(found: Sequence[Agreement]) -> str:
    """Return the figures as a table."""
    columns = (
        "scan",
        "Dice",
        "full grid against itself, moved",
        "same windows in float32",
        "full grid",
        "default",
        "voxels that differ",
        "windows",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [
        f"| {one.scan} | {one.dice:.4f} | {one.moved_dice:.4f} "
        f"| {one.precision_dice:.4f} | {one.full_ml:.1f} ml | {one.default_ml:.1f} ml "
        f"| {one.differing_voxels} | {one.windows} of {one.windows_full_grid} |"
        for one in found
    ]
    return "\n".join(lines)
