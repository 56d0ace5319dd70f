"""A scan with many lesions, its label and a prediction that is partly wrong, for the times of scores and reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from swfastedit_core.components import count_components
from swfastedit_core.errors import UserError
from swfastedit_core.phantom import make_phantom
from swfastedit_core.volume import Geometry, Volume

SITE_MM = 32.0  # distance of the sites of lesions
RADIUS_MM = (4.0, 12.0)  # with MAX_JITTER_MM on both sides a gap of at least 4 mm stays between two lesions
MAX_JITTER_MM = 2.0
SHIFT_MM, GROWTH_MM = 3.0, 2.0  # of a predicted lesion, at most
MISSED = FALSE_POSITIVE = 0.1  # shares of the lesions
BODY_SUV = 0.2


@dataclass(frozen=True, eq=False)
class Pair:
    """A scan, its label and a prediction; the masks are uint8 [Z, Y, X]."""

    pet: Volume
    label_zyx: np.ndarray
    prediction_zyx: np.ndarray


def make_pair(geometry: Geometry, *, lesions: int, seed: int) -> Pair:
    """Make a phantom with lesions: hot balls in the body, each an 18-connected component of the label.

    Of the predicted balls, some are missing, the others are shifted and have another radius; some have no lesion.

    Raises
    ------
    UserError
        If the body has too few sites for the lesions.
    """
    rng = np.random.default_rng(seed)
    pet = make_phantom(seed, geometry=geometry, lesions=0).pet
    label, prediction = (np.zeros(pet.array_zyx.shape, np.uint8) for _ in range(2))
    wrong = round(lesions * FALSE_POSITIVE)
    sites = list(_sites(pet))
    if len(sites) < lesions + wrong:
        raise UserError(f"{lesions} lesions and {wrong} false ones: the body has {len(sites)} sites; ask for fewer")
    for number, site in enumerate(rng.permutation(sites)[: lesions + wrong]):
        centre = site + rng.uniform(-MAX_JITTER_MM, MAX_JITTER_MM, 3)
        radius_mm = rng.uniform(*RADIUS_MM)
        if number < lesions:
            here, ball = _ball(centre, radius_mm, geometry)
            label[here] |= ball
            pet.array_zyx[here] += np.float32(rng.uniform(2, 15)) * ball
            if rng.random() < MISSED:
                continue
            centre = centre + rng.uniform(-SHIFT_MM, SHIFT_MM, 3)
            radius_mm += rng.uniform(-GROWTH_MM, GROWTH_MM)
        here, ball = _ball(centre, radius_mm, geometry)
        prediction[here] |= ball
    found = count_components(label)
    assert found == lesions, f"{found} components instead of {lesions}"
    return Pair(pet, label, prediction)


def _sites(pet: Volume) -> Iterator[tuple[float, ...]]:
    """Yield places in the body on a lattice, as z, y, x in mm from voxel 0; a lesion fits into the grid there."""
    spacing_zyx = pet.geometry.spacing_mm[::-1]
    lines = [
        np.arange(SITE_MM / 2, size * mm - SITE_MM / 2, SITE_MM)
        for size, mm in zip(pet.array_zyx.shape, spacing_zyx, strict=True)
    ]
    for site in product(*lines):
        if pet.array_zyx[tuple(int(mm / step) for mm, step in zip(site, spacing_zyx, strict=True))] > BODY_SUV:
            yield site


def _ball(centre_zyx_mm: np.ndarray, radius_mm: float, geometry: Geometry) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the voxels of a ball in its box: the box's slices, and bool [Z, Y, X]; at least one voxel."""
    spacing = np.array(geometry.spacing_mm[::-1])
    nearest = np.rint(centre_zyx_mm / spacing).astype(int)
    half = np.ceil(radius_mm / spacing).astype(int)
    first = np.maximum(nearest - half, 0)
    last = np.minimum(nearest + half, np.array(geometry.shape_zyx) - 1)
    axes = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    squares = [((axis * mm - middle) ** 2) for axis, mm, middle in zip(axes, spacing, centre_zyx_mm, strict=True)]
    ball = np.add.outer(np.add.outer(squares[0], squares[1]), squares[2]) <= radius_mm**2
    ball[tuple(nearest - first)] = True
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)), ball


def save_pair(pair: Pair, folder: Path) -> None:
    """Write a pair as .npy files, which take no time to read."""
    np.save(folder / "pet.npy", pair.pet.array_zyx)
    np.save(folder / "label.npy", pair.label_zyx)
    np.save(folder / "prediction.npy", pair.prediction_zyx)
    geometry = pair.pet.geometry
    np.save(folder / "grid.npy", [geometry.spacing_mm, geometry.origin_mm])


def load_pair(folder: Path) -> Pair:
    """Read what `save_pair` wrote."""
    pet, label, prediction, grid = (np.load(folder / f"{name}.npy") for name in ("pet", "label", "prediction", "grid"))
    z, y, x = pet.shape
    spacing_mm, origin_mm = (tuple(row) for row in grid.tolist())
    return Pair(Volume(pet, Geometry((x, y, z), spacing_mm, origin_mm)), label, prediction)
