"""Guidance: from clicks to the input channels of an interactive network.

A click is brought from the file's grid to the network's grid and painted there, over the whole grid. The channels are 0
nearly everywhere, so they are stored as `SparseChannel`, and a window gets its part when it is cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box, Triple
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.clicks import ClickKind, FileVoxels
from swfastedit_core.preprocess import Placement
from swfastedit_core.sparse_channel import SparseChannel

CHANNELS = tuple(ClickKind)  # tumour guidance, background guidance


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
