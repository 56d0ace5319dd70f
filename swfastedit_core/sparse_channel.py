"""A channel of the network's grid that is 0 nearly everywhere, stored as tiles.

A grid is divided into tiles of 32³ voxels from voxel 0 on; tiles at its end are smaller. Only tiles with values are
stored, so a channel never takes more memory than the grid, and a window looks only at the tiles that it meets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box, Triple, triple

TILE = 32  # sides of a tile, in voxels


@dataclass(frozen=True, eq=False)
class SparseChannel:
    """A channel that is 0 nearly everywhere.

    Attributes
    ----------
    shape
        Of the grid.
    tiles
        Values of the tiles that are not 0 everywhere, float32 [X, Y, Z], by the tile's numbers along x, y, z.
    """

    shape: Triple
    tiles: Mapping[Triple, np.ndarray]

    @classmethod
    def of(cls, shape: Triple, tiles: Mapping[Triple, np.ndarray]) -> SparseChannel:
        """Return the channel without the tiles that are 0 everywhere."""
        return cls(shape, {number: tile for number, tile in tiles.items() if tile.any()})

    def write(self, target: Tensor, box: Box) -> None:
        """Write the values in a box into a tensor of zeros, [X, Y, Z], on any device."""
        for part, values in self.parts(box):
            target[part.slices] = torch.from_numpy(values)

    def parts(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """Yield the parts of a box in which tiles are stored, counted from its start, and their values."""
        inside = box.clipped(Box.whole(self.shape))
        for number in _numbers(inside):
            if number in self.tiles:
                tile = tile_box(number, self.shape)
                part = tile.clipped(inside)
                yield part.relative_to(box), self.tiles[number][part.relative_to(tile).slices]

    def changed_from(self, other: SparseChannel) -> np.ndarray:
        """Return the voxels that differ from another channel of the same shape, int64 [N, 3]."""
        changed = [np.empty((0, 3), np.int64)]
        for number in sorted(self.tiles.keys() | other.tiles.keys()):
            one, another = self.tiles.get(number, 0.0), other.tiles.get(number, 0.0)
            changed.append(np.argwhere(one != another) + TILE * np.array(number))
        return np.concatenate(changed)


def tile_box(number: Triple, shape: Triple) -> Box:
    """Return the voxels of a tile of a grid with this shape."""
    return Box.at((TILE * side for side in number), (TILE,) * 3).clipped(Box.whole(shape))


def voxels_by_tile(voxels: np.ndarray, reach: int, shape: Triple) -> dict[Triple, np.ndarray]:
    """Return the tiles within reach of some voxels.

    Parameters
    ----------
    voxels
        int64 [N, 3], inside the shape.
    reach
        Largest distance along each axis.
    shape
        Of the grid.

    Returns
    -------
    dict
        For each tile within reach, the voxels that it is within reach of, int64 [M, 3], in their order.
    """
    first = np.maximum(voxels - reach, 0) // TILE
    last = np.minimum(voxels + reach, np.array(shape) - 1) // TILE
    rows: dict[Triple, list[int]] = {}
    for row, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for number in product(*(range(low, high + 1) for low, high in zip(a, b, strict=True))):
            rows.setdefault(triple(number), []).append(row)
    return {number: voxels[of_tile] for number, of_tile in rows.items()}


def _numbers(box: Box) -> Iterator[Triple]:
    """Yield the numbers of the tiles that meet a box inside the grid."""
    sides = (range(start // TILE, -(-stop // TILE)) for start, stop in zip(box.start, box.stop, strict=True))
    yield from map(triple, product(*sides))
