"""Whether the mask that users get is that of the recipe's full grid in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swfastedit_core import load_networks, segment
from swfastedit_core.command import say
from swfastedit_core.files import read_volume
from swfastedit_core.metrics import dice
from swfastedit_core.train.sources import find_sources, read_source
from swfastedit_core.volume import Volume


@dataclass(frozen=True)
class Agreement:
    """Of two masks of a scan.

    Attributes
    ----------
    scan
        Its name.
    dice
        Of the default mask against that of the full grid in float32; 1 where both are empty.
    full_ml, default_ml
        Volumes of the two masks.
    differing_voxels
        Voxels in one of them only.
    windows, windows_full_grid
        That ran for each.
    """

    scan: str
    dice: float
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
        differing = int(np.count_nonzero(one != other))
        score = dice(other, one) if differing else 1.0
        found.append(Agreement(name, score, full.lesion_ml, ours.lesion_ml, differing, ours.windows, full.windows))
        say(f"agreement: {name}: Dice {score:.4f}, {differing} voxels differ")

    for path in scans:
        compare(path.parent.name, read_volume(path))
    for source in find_sources(f"phantom:{phantoms}", seed=seed) if phantoms else []:
        compare(source.case, read_source(source).pet)
    return found


def in_markdown(found: Sequence[Agreement]) -> str:
    """Return the table of `docs/performance.md`."""
    lines = [
        "| scan | Dice | full grid, float32 | default | voxels that differ | windows |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.scan} | {one.dice:.4f} | {one.full_ml:.1f} ml | {one.default_ml:.1f} ml | {one.differing_voxels} "
        f"| {one.windows} of {one.windows_full_grid} |"
        for one in found
    ]
    return "\n".join(lines)
