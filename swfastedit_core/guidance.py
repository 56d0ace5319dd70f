"""Guidance: from clicks to the input channels of an interactive network.

A click is brought from the file's grid to the network's grid and painted there. The channels hold few voxels that are
not 0, so only these are stored, and a window gets its channels when it is cut.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from swfastedit_core.box import Box, Triple
from swfastedit_core.clicks import ClickKind, FileVoxels
from swfastedit_core.errors import UserError
from swfastedit_core.preprocess import Placement

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
        inside = blurred.values > DISC_THRESHOLD
        return SparseChannel(blurred.indices[inside], np.ones(int(inside.sum()), np.float32))


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
        return _blur(voxels, shape, self.sigma)


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
        if not 0 <= self.radius <= MAX_RADIUS:
            raise UserError(f"radius {self.radius} of a click, expected 0 to {MAX_RADIUS} voxels")

    def paint(self, voxels: np.ndarray, shape: Triple) -> SparseChannel:
        """Paint clicks, int64 [N, 3], different from each other and inside the shape."""
        offsets, grades = self._ball
        positions = (voxels[:, None] + offsets).reshape(-1, 3)
        values = np.tile(grades, len(voxels))
        inside = ((positions >= 0) & (positions < shape)).all(axis=1)
        indices = np.ravel_multi_index(tuple(positions[inside].T), shape)
        brightest_first = np.lexsort((-values[inside], indices))
        indices, values = indices[brightest_first], values[inside][brightest_first]
        first = np.append(True, indices[1:] != indices[:-1])[: len(indices)]
        return SparseChannel(indices[first], values[first])

    @property
    def _ball(self) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of the ball's voxels from its middle, [n, 3], and their values."""
        axis = np.arange(-self.radius, self.radius + 1)
        squares = axis**2
        ball = squares[:, None, None] + squares[:, None] + squares <= self.radius**2
        # A radius of 0 leaves no voxel outside; the distance is then not defined.
        distance = ndimage.distance_transform_edt(ball) if self.radius else np.ones(ball.shape)
        return np.argwhere(ball) - self.radius, (distance[ball] / distance.max()).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SparseChannel:
    """The voxels of a channel that are not 0.

    Attributes
    ----------
    indices
        Into the flattened channel [X, Y, Z], int64 [N], rising.
    values
        float32 [N].
    """

    indices: np.ndarray
    values: np.ndarray


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
        channels = torch.zeros((len(CHANNELS), *box.shape))
        for channel, (positions, values) in zip(channels, self._inside(box), strict=True):
            x, y, z = torch.from_numpy(positions).unbind(1)
            channel[x, y, z] = torch.from_numpy(values)
        return channels.to(device)

    def digest(self, box: Box) -> bytes:
        """Return a digest of what `cut` returns for a box; empty if that is 0 everywhere."""
        inside = list(self._inside(box))
        if not any(len(values) for _, values in inside):
            return b""
        parts = [part for positions, values in inside for part in (np.array([len(values)]), positions, values)]
        return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()

    def changed_from(self, other: Guidance) -> np.ndarray:
        """Return the voxels in which a channel differs from that of another guidance on the same grid.

        Returns
        -------
        ndarray
            int64 [N, 3].
        """
        pairs = ((self.tumour, other.tumour), (self.background, other.background))
        changed = np.unique(np.concatenate([_differences(one, another) for one, another in pairs]))
        return np.stack(np.unravel_index(changed, self.shape), axis=1)

    def _inside(self, box: Box) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the voxels of each channel in a box, counted from its start, int64 [N, 3], and their values."""
        for positions, values in self._positions:
            inside = ((positions >= box.start) & (positions < box.stop)).all(axis=1)
            yield positions[inside] - box.start, values[inside]

    @cached_property
    def _positions(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Voxels, int64 [N, 3], and values of each channel."""
        return tuple(
            (np.stack(np.unravel_index(channel.indices, self.shape), axis=1), channel.values)
            for channel in (self.tumour, self.background)
        )


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
    tumour, background = (_paint(voxels.get(kind, none), shape, encoding) for kind in CHANNELS)
    return Guidance(shape, tumour, background)


def _paint(voxels: np.ndarray, shape: Triple, encoding: ClickEncoding) -> SparseChannel:
    if len(voxels) == 0:
        return SparseChannel(np.empty(0, np.int64), np.empty(0, np.float32))
    return encoding.paint(voxels, shape)


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


def _differences(one: SparseChannel, other: SparseChannel) -> np.ndarray:
    """Return the indices whose values differ."""
    indices = np.concatenate([one.indices, other.indices])
    values = np.concatenate([one.values, -other.values])
    unique, place = np.unique(indices, return_inverse=True)
    different: np.ndarray = unique[np.bincount(place, values, minlength=len(unique)) != 0]
    return different


def _blur(voxels: np.ndarray, shape: Triple, sigma: float) -> SparseChannel:
    """Filter a channel of clicks with MONAI's Gaussian kernel and scale it from 0 to 1, as the whole channel would be.

    Clicks whose kernels meet are blurred together, in a box around them.
    """
    kernel = _gaussian_kernel(sigma)
    radius = len(kernel) // 2
    indices, values = [], []
    for group in _groups(voxels, shape, 2 * radius + 1):
        box = Box.around(Box.at(voxel, (1, 1, 1)) for voxel in group).grown((radius,) * 3).clipped(Box.whole(shape))
        block = np.zeros(box.shape)
        block[tuple((group - box.start).T)] = 1.0
        for axis in range(3):
            block = ndimage.correlate1d(block, kernel, axis, mode="constant")
        found = np.argwhere(block)
        indices.append(np.ravel_multi_index(tuple((found + box.start).T), shape))
        values.append(block[tuple(found.T)])
    blurred = np.concatenate(values)
    low = 0.0 if len(blurred) < math.prod(shape) else blurred.min()
    blurred = ((blurred - low) / max(blurred.max() - low, np.finfo(np.float64).tiny)).astype(np.float32)
    order = np.argsort(flat := np.concatenate(indices))
    return SparseChannel(flat[order], blurred[order])


def _groups(voxels: np.ndarray, shape: Triple, side: int) -> list[np.ndarray]:
    """Divide clicks into groups whose kernels do not meet: clicks in cells of this side that touch are one group."""
    cells = voxels // side
    occupied = np.zeros(-(-np.array(shape) // side), bool)
    occupied[tuple(cells.T)] = True
    numbers, count = ndimage.label(occupied, structure=np.ones((3, 3, 3)))
    group = numbers[tuple(cells.T)]
    return [voxels[group == number] for number in range(1, count + 1)]


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
