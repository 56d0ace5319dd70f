"""26-connected components of a mask, each cut out of the volume with a margin of one voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from scipy import ndimage

NEIGHBOURS_26 = np.ones((3, 3, 3), bool)  # voxels that share a face, an edge or a corner
Slices = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Component:
    """A connected component.

    Attributes
    ----------
    slices
        Its box in the volume, with a margin of one voxel where the volume has more voxels.
    mask
        bool, of the shape of the box.
    """

    slices: Slices
    mask: np.ndarray

    @cached_property
    def depth(self) -> np.ndarray:
        """Distance of its voxels to the nearest voxel outside, as in the whole volume; float32, shape of the box."""
        return depth_of(self.mask)

    @property
    def deepest(self) -> np.ndarray:
        """Index in the volume of the voxel with the largest distance, int64 [3]; of equal ones the first."""
        return self.in_volume(np.unravel_index(self.depth.argmax(), self.depth.shape))

    @cached_property
    def border(self) -> np.ndarray:
        """Indices in the volume of the voxels with the smallest distance, int64 [N, 3]."""
        return self.in_volume(np.argwhere(self.mask & (self.depth == self.depth[self.mask].min())))

    def in_volume(self, voxels: Sequence[np.intp] | np.ndarray) -> np.ndarray:
        """Turn indices in the box, [3] or [N, 3], into indices in the volume, int64."""
        in_volume: np.ndarray = np.asarray(voxels, np.int64) + [side.start for side in self.slices]
        return in_volume


class Components(Sequence[Component]):
    """The 26-connected components of a mask, as the autoPET challenges count them for clicks.

    Parameters
    ----------
    mask
        bool, three dimensions, in any axis order.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self._shape = mask.shape
        self._around = slices_around(mask)
        self._numbers, count = ndimage.label(mask[self._around], structure=NEIGHBOURS_26)
        self._boxes = ndimage.find_objects(self._numbers, max_label=count) if count else []

    @property
    def around(self) -> Slices:
        """Slices of the smallest box around all components."""
        return self._around

    @property
    def box_voxels(self) -> int:
        """Number of voxels in the boxes of all components, without their margins."""
        return sum(math.prod(side.stop - side.start for side in box) for box in self._boxes)

    def __len__(self) -> int:
        return len(self._boxes)

    @overload
    def __getitem__(self, index: int) -> Component: ...
    @overload
    def __getitem__(self, index: slice) -> list[Component]: ...
    def __getitem__(self, index: int | slice) -> Component | list[Component]:
        """Return a component, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        number = range(len(self))[index] + 1
        return self._cut(number)

    def _cut(self, number: int) -> Component:
        box = self._boxes[number - 1]
        first = [outer.start + side.start for outer, side in zip(self._around, box, strict=True)]
        placed = tuple(slice(start, start + side.stop - side.start) for start, side in zip(first, box, strict=True))
        slices = grown(placed, self._shape)
        mask = np.zeros([side.stop - side.start for side in slices], bool)
        inside = tuple(
            slice(side.start - outer.start, side.stop - outer.start) for side, outer in zip(placed, slices, strict=True)
        )
        mask[inside] = self._numbers[box] == number
        return Component(slices, mask)


def depth_of(mask: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance transform of a bool array, float32; the border of the array is no border.

    Only where the mask fills the array, the distances are those to the border of the array.
    """
    if mask.all():  # scipy would return distances to no voxel at all
        padded: np.ndarray = ndimage.distance_transform_edt(np.pad(mask, 1))
        return padded[(slice(1, -1),) * mask.ndim].astype(np.float32)
    distance: np.ndarray = ndimage.distance_transform_edt(mask)
    return distance.astype(np.float32)


def grown(slices: Slices, shape: tuple[int, ...]) -> Slices:
    """Return the slices with a margin of one voxel, within an array of a shape."""
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length)) for side, length in zip(slices, shape, strict=True)
    )


def slices_around(mask: np.ndarray) -> Slices:
    """Return the slices of the smallest box around a bool array; of length 0 if it is empty."""
    slices: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0))
    return tuple(slices)
