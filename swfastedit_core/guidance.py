"""Guidance: from clicks to the input channels of an interactive network.

A click is brought from the file's grid to the network's grid and painted there, over the whole grid. The channels are 0
nearly everywhere, so they are stored as `SparseChannel`, and a window gets its part when it is cut.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from swfastedit_core.box import Box, Triple
from swfastedit_core.clicks import ClickKind, FileVoxels
from swfastedit_core.errors import UserError
from swfastedit_core.preprocess import Placement
from swfastedit_core.sparse_channel import SparseChannel, tile_box, voxels_by_tile

TRUNCATE = 4.0  # MONAI's: a Gaussian kernel ends after this many sigmas
DISC_THRESHOLD = 0.1  # the authors'; of the maximum of the channel
MAX_SIGMA = 16.0  # voxels; a kernel is then as large as the recipe's window
MAX_RADIUS = 16  # voxels
CHANNELS = tuple(ClickKind)  # tumour guidance, background guidance


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


@dataclass(frozen=True, eq=False)
class Guidance:
    """The guidance channels of a scan for one network.

    Attributes
    ----------
    shape
        Of the network's grid.
    tumour, background
        The channels, in this order.
    """

    shape: Triple
    tumour: SparseChannel
    background: SparseChannel

    def cut(self, box: Box, device: torch.device) -> Tensor:
        """Return the channels in a box, float32 [2, X, Y, Z]; 0 beyond the grid."""
        channels = torch.zeros((len(CHANNELS), *box.shape), device=device)
        for target, channel in zip(channels, (self.tumour, self.background), strict=True):
            channel.write(target, box)
        return channels

    def digest(self, box: Box) -> bytes:
        """Return a digest of what `cut` returns for a box; empty if that is 0 everywhere."""
        digest, empty = hashlib.blake2b(digest_size=16), True
        for number, channel in enumerate((self.tumour, self.background)):
            for part, values in channel.parts(box):
                if values.any():
                    empty = False
                    digest.update(repr((number, part)).encode())
                    digest.update(values.tobytes())
        return b"" if empty else digest.digest()

    def changed_from(self, other: Guidance) -> np.ndarray:
        """Return the voxels in which a channel differs from that of another guidance on the same grid.

        Returns
        -------
        ndarray
            int64 [N, 3], different from each other.
        """
        pairs = ((self.tumour, other.tumour), (self.background, other.background))
        changed = np.concatenate([one.changed_from(another) for one, another in pairs])
        flat = np.unique(np.ravel_multi_index(tuple(changed.T), self.shape))
        return np.stack(np.unravel_index(flat, self.shape), axis=1)


def network_voxels(voxels: FileVoxels, placement: Placement) -> FileVoxels:
    """Bring voxels from the file's grid to the network's: the voxel there whose centre is nearest in the patient.

    Both grids have the same axes in the patient up to order and direction, so the way over patient coordinates is a
    permutation, flips and a scaling.

    Parameters
    ----------
    voxels
        Voxel indices x, y, z of the file, [N, 3] for each kind; from `clicks.file_voxels`.
    placement
        Of the network's grid on the file's.

    Returns
    -------
    dict
        For each kind, voxels along R, A, S, int64 [N, 3], different from each other.
    """
    return {kind: _unique(on_network_grid(of_kind, placement)) for kind, of_kind in voxels.items()}


def paint_guidance(voxels: Mapping[ClickKind, np.ndarray], shape: Triple, encoding: ClickEncoding) -> Guidance:
    """Paint clicks on the network's grid.

    Parameters
    ----------
    voxels
        From `network_voxels`: different from each other. Kinds that are missing have no clicks.
    shape
        Of the network's grid.
    encoding
        The network's.
    """
    none = np.empty((0, 3), np.int64)
    tumour, background = (encoding.paint(voxels.get(kind, none), shape) for kind in CHANNELS)
    return Guidance(shape, tumour, background)


def on_network_grid(index_xyz: np.ndarray, placement: Placement) -> np.ndarray:
    """Return the voxel of the network's grid whose centre is nearest, for each voxel x, y, z of the file, [N, 3]."""
    along = index_xyz[:, list(placement.file_axis)]
    flipped = np.array(placement.ras_shape) - 1 - along
    nearest = np.floor(np.where(placement.flipped, flipped, along) / placement.step + 0.5).astype(np.int64)
    clipped: np.ndarray = np.clip(nearest, 0, np.array(placement.network_shape) - 1)
    return clipped


def _unique(voxels: np.ndarray) -> np.ndarray:
    """Return different rows, in the order in which each appears first."""
    _, first = np.unique(voxels, axis=0, return_index=True)
    return voxels[np.sort(first)]


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
