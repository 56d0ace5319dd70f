"""Small scans, networks that take clicks, and an engine that counts its windows: for tests of sessions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from fake_engine import FakeEngine
from torch.nn import functional

from swfastedit_core import Geometry, Volume
from swfastedit_core.checkpoint import Channels
from swfastedit_core.click_encodings import DiscEncoding, GaussianEncoding, GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.preprocess import Preprocessing

SPACING_MM = (4.0, 4.0, 4.0)
ENCODINGS = [DiscEncoding(), GradedBallEncoding(1), GaussianEncoding(0.5)]
OBLIQUE = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
GEOMETRIES = {
    "the network's own": Geometry((18, 15, 16), SPACING_MM, (1.0, 2.0, 3.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
    "turned, finer": Geometry((26, 22, 19), (2.9, 3.1, 3.3), (0.0, 9.0, 3.0), (0, 1, 0, -1, 0, 0, 0, 0, -1)),
    "oblique, coarser": Geometry((13, 16, 11), (5.1, 4.4, 6.2), (0.0, 9.0, 3.0), OBLIQUE),
}


class Convolution(FakeEngine):
    """A network of one convolution with random weights, which counts its windows.

    Zeros around a window stand for what it does not see, so overlapping windows differ.
    """

    def __init__(self, encoding=None, *, seed=0, window=(8, 8, 8), spacing_mm=SPACING_MM, ct=False, batch=1):
        images = Channels.PET_CT if ct else Channels.PET
        channels = images if encoding is None else images.with_clicks
        self.source, self.batch, self.windows = f"{seed}.safetensors", batch, 0
        self.config = SimpleNamespace(
            window=window,
            channels=channels,
            clicks=encoding,
            preprocessing=Preprocessing(spacing_mm, RangeIntensity(0.0, 1.0)),
        )
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn((1, channels.count, 5, 5, 5), generator=generator)
        self.weights -= self.weights.mean((2, 3, 4), keepdim=True)  # about half of the voxels are tumour
        self.weights[:, channels.image_channels :] *= 4.0

    def __call__(self, windows):
        self.windows += len(windows)
        return functional.conv3d(windows, self.weights, padding=2)[:, 0]

    def count(self):
        """Return the number of windows since the last call."""
        windows, self.windows = self.windows, 0
        return windows


def noise(geometry, seed=0):
    """Return a scan of random voxels from 0 to 1."""
    return Volume(np.random.default_rng(seed).random(geometry.shape_zyx, np.float32), geometry)


def tumour(*voxel):
    return Click(ClickKind.TUMOUR, voxel)


def background(*voxel):
    return Click(ClickKind.BACKGROUND, voxel)


def random_clicks(rng, geometry, count):
    kinds = list(ClickKind)
    return [Click(kinds[rng.integers(2)], tuple(map(int, rng.integers(geometry.size_xyz)))) for _ in range(count)]


def dice(one, other):
    both = np.count_nonzero(one.array_zyx & other.array_zyx)
    return 2 * both / max(int(one.array_zyx.sum()) + int(other.array_zyx.sum()), 1)
