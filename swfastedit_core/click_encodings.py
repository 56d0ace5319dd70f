"""Encodings: how clicks are painted into a guidance channel of the network's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.box import Box, Triple
from swfastedit_core.errors import UserError
from swfastedit_core.sparse_channel import SparseChannel, tile_box, voxels_by_tile

TRUNCATE = 4.0  # MONAI's: a Gaussian kernel ends after this many sigmas
DISC_THRESHOLD = 0.1  # the authors'; of the maximum of the channel
MAX_SIGMA = 16.0  # voxels; a kernel is then as large as the recipe's window
MAX_RADIUS = 16  # voxels


@dataclass(frozen=True)
class DiscEncoding:
    """The authors' discs: a Gaussian filter, scaled by the maximum of the whole channel, above 0.1.

    Clicks influence each other: where their blurs add up, the maximum is higher, and discs elsewhere in the channel get
    smaller. With a sigma of 1, one click gives 33 voxels, and 27 if two others are adjacent. Source: the interactive
    entry of M. Hadlich, Z. Marinov and R. Stiefelhagen, arXiv 2311.14482, as their published code computes it.

    Attributes
    ----------
    sigma
        In voxels of the network's grid.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    def paint(self, voxels: np.ndarray, shape: Triple) -> SparseChannel:
        """Paint clicks, int64 [N, 3], different from each other and inside the shape; the values are 0 and 1."""
        blurred = _blur(voxels, shape, self.sigma)
        discs = {number: (tile > DISC_THRESHOLD).astype(np.float32) for number, tile in blurred.items()}
        return SparseChannel.of(shape, discs)


@dataclass(frozen=True)
class GaussianEncoding:
    """A Gaussian filter of the clicks, scaled to a maximum of 1 in the channel, as in MONAI's DeepEdit.

    Attributes
    ----------
    sigma
        In voxels of the network's grid.
    """

    sigma: float = 3.0

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    def paint(self, voxels: np.ndarray, shape: Triple) -> SparseChannel:
        """Paint clicks, int64 [N, 3], different from each other and inside the shape."""
        return SparseChannel.of(shape, _blur(voxels, shape, self.sigma))


@dataclass(frozen=True)
class GradedBallEncoding:
    """A ball around each click, brightest in the middle; where balls overlap, the higher value.

    The value is the distance to the outside of the ball, over its maximum: 1 in the middle. With a radius of 2 it is
    0.632 in the 6 neighbours, 0.447 in the other 26 voxels. Source: the winner of autoPET IV,
    https://github.com/MIC-DKFZ/autoPET-interactive.

    Attributes
    ----------
    radius
        In voxels of the network's grid.
    """

    radius: int = 2

    def __post_init__(self) -> None:
        if type(self.radius) is not int or not 0 <= self.radius <= MAX_RADIUS:
            raise UserError(f"radius {self.radius} of a click, expected a whole number from 0 to {MAX_RADIUS} voxels")

    def paint(self, voxels: np.ndarray, shape: Triple) -> SparseChannel:
        """Paint clicks, int64 [N, 3], different from each other and inside the shape."""
        ball, tiles = self._ball(), {}
        for number, clicks in voxels_by_tile(voxels, self.radius, shape).items():
            tile = tile_box(number, shape)
            values = np.zeros(tile.shape, np.float32)
            for click in clicks:
                around = Box.at(click - self.radius, ball.shape)
                part = around.clipped(tile)
                target = values[part.relative_to(tile).slices]
                np.maximum(target, ball[part.relative_to(around).slices], out=target)
            tiles[number] = values
        return SparseChannel.of(shape, tiles)

    def _ball(self) -> np.ndarray:
        """Return the values of one click, float32, a cube with a side of twice the radius + 1."""
        squares = np.arange(-self.radius, self.radius + 1) ** 2
        ball = squares[:, None, None] + squares[:, None] + squares <= self.radius**2
        # A radius of 0 leaves no voxel outside; the distance is then not defined.
        distance = ndimage.distance_transform_edt(ball) if self.radius else np.ones(ball.shape)
        graded: np.ndarray = (distance / distance.max()).astype(np.float32)
        return graded


# How clicks become a guidance channel. Weights are trained with one encoding; their header names it.
ClickEncoding = DiscEncoding | GradedBallEncoding | GaussianEncoding


def _blur(voxels: np.ndarray, shape: Triple, sigma: float) -> dict[Triple, np.ndarray]:
    """Filter a channel of clicks with MONAI's Gaussian kernel and scale it from 0 to 1, as the whole channel would be.

    The kernel is separable and a click is one voxel, so a tile is a sum over clicks of products of three profiles.

    Returns
    -------
    dict
        Tiles in reach of a click, float32, by their numbers.
    """
    kernel = _gaussian_kernel(sigma)
    blurred = {}
    for number, clicks in voxels_by_tile(voxels, len(kernel) // 2, shape).items():
        tile = tile_box(number, shape)
        x, y, z = (_profiles(kernel, clicks[:, axis], tile.start[axis], tile.stop[axis]) for axis in range(3))
        # One small product for each x: the linear algebra library would divide a large one among threads, and wait.
        planes = (x.T[:, :, None] * y).transpose(0, 2, 1)
        blurred[number] = (planes @ z).astype(np.float32)
    if not blurred:
        return {}
    everywhere = sum(tile.size for tile in blurred.values()) == math.prod(shape)
    low = min(tile.min() for tile in blurred.values()) if everywhere else np.float32(0)
    span = max(max(tile.max() for tile in blurred.values()) - low, np.finfo(np.float32).tiny)
    return {number: (tile - low) / span for number, tile in blurred.items()}


def _profiles(kernel: np.ndarray, clicks: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return the kernel around each click along one axis, from voxel start to stop: float64 [N, stop - start]."""
    taps = np.arange(start, stop) - clicks[:, None] + len(kernel) // 2
    inside = (taps >= 0) & (taps < len(kernel))
    return np.where(inside, kernel[np.where(inside, taps, 0)], 0.0)


def _gaussian_kernel(sigma: float) -> np.ndarray:
    """Return the kernel of MONAI's ``GaussianFilter``: integrals of a normal distribution over voxels, float64.

    ``2 * int(4 * sigma + 0.5) + 1`` values, whose sum is a little below 1.
    """
    tail = int(max(sigma * TRUNCATE, 0.5) + 0.5)
    edges = (np.arange(-tail, tail + 2) - 0.5) / (math.sqrt(2.0) * sigma)
    return np.diff([math.erf(edge) for edge in edges]) / 2


def _check_sigma(sigma: float) -> None:
    if not 0 < sigma <= MAX_SIGMA:
        raise UserError(f"sigma {sigma} of a click, expected more than 0 and at most {MAX_SIGMA:g} voxels")
