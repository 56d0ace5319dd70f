"""A small data set for tests of training: warm bodies, each with one hot ball."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swfastedit_core import Geometry, Volume, write_mask, write_volume

GRID = Geometry((40, 36, 32), (4.0, 4.0, 4.0))
RADIUS_VOXELS = 5


def blob(seed: int, *, organ: bool = False) -> tuple[Volume, Volume]:
    """Return scan and label of a patient, by request with an organ as hot as the lesion and four times as large."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(GRID.shape_zyx)
    centre = rng.uniform((9, 10, 12), (22, 25, 27))
    ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < RADIUS_VOXELS**2
    body = (np.abs(y - 18) < 14) & (np.abs(x - 20) < 16)
    suv = 1.0 * body + 6.0 * (ball | (organ & body & (z >= 29))) + rng.normal(0, 0.1, ball.shape)
    return Volume(np.maximum(suv, 0).astype(np.float32), GRID), Volume(ball, GRID)


def write_blobs(folder: Path, count: int, *, organ: bool = False) -> Path:
    """Write patients 0 to `count` - 1 as imagesTr and labelsTr; return the folder."""
    for seed in range(count):
        scan, label = blob(seed, organ=organ)
        write_volume(scan, folder / "imagesTr" / f"blob{seed}.mha")
        write_mask(label, folder / "labelsTr" / f"blob{seed}.mha")
    return folder
