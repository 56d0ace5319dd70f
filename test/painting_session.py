"""A session for tests that paints: a tumour click adds the hot voxels around it, a background click clears a ball."""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.clicks import ClickKind, file_voxels
from swfastedit_core.volume import Volume

HOT = 3.0  # SUV
RADIUS = 3  # voxels


class PaintingSession:
    """It takes what `Session` takes; it is its own `Update`, in which a window ran if the mask changed.

    Its first mask holds the hot voxels of the slices below their centre: half of the lesion is missing.
    """

    def __init__(self, networks, pet, **options):
        self.options = options
        self._pet, self._prompts, self.settled, self.windows = pet, [], 0, 0
        self._hot = pet.array_zyx > HOT
        self.mask = Volume(np.zeros(pet.array_zyx.shape, np.uint8), pet.geometry)

    def add(self, clicks):
        self._prompts.append(file_voxels(clicks, self._pet.geometry))

    def settle(self, progress=None):
        self.settled += 1
        before = self.mask.array_zyx
        painted = self._hot.copy()
        painted[math.ceil(np.nonzero(painted)[0].mean()) :] = False
        for prompt in self._prompts:
            for kind, voxels in prompt.items():
                for x, y, z in voxels:
                    ball = self._ball(x, y, z)
                    painted[ball] = self._hot[ball] if kind is ClickKind.TUMOUR else False
        self.mask = Volume(painted.astype(np.uint8), self._pet.geometry)
        self.windows = int(self.settled == 1 or not np.array_equal(before, painted))
        return self

    def _ball(self, x, y, z):
        zs, ys, xs = np.indices(self._hot.shape)
        return (zs - z) ** 2 + (ys - y) ** 2 + (xs - x) ** 2 <= RADIUS**2
