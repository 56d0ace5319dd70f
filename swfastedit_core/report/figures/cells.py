"""A scan in cells of about 7 mm along the patient's axes, for questions about organs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from swfastedit_core.preprocess import Placement, place, to_patient
from swfastedit_core.report.record import Point
from swfastedit_core.volume import Geometry

CELL_MM = 7.0
Block = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The relation of cells to the voxels of a file.

    Attributes
    ----------
    block
        Sides of a cell in voxels along R, A, S. Voxels at the end of a file's axis that fill no cell are left out.
    placement
        The order of the patient's axes in the file.
    geometry
        Of the file.
    """

    block: Block
    placement: Placement
    geometry: Geometry

    @classmethod
    def of(cls, geometry: Geometry) -> CellGrid:
        """Plan the cells of a file."""
        placement = replace(place(geometry, geometry.spacing_mm), step=(1.0, 1.0, 1.0))  # order and direction only
        block = []
        for axis in placement.file_axis:
            size, mm = geometry.size_xyz[axis], geometry.spacing_mm[axis]
            block.append(max(1, min(round(CELL_MM / mm), size)))
        return cls(tuple(block), placement, geometry)

    @property
    def spacing_mm(self) -> np.ndarray:
        """Sides of a cell along R, A, S, float64 [3]."""
        spacing: np.ndarray = np.array(self.geometry.spacing_mm)[list(self.placement.file_axis)] * self.block
        return spacing

    @property
    def cell_ml(self) -> float:
        """Volume of a cell."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def mean(self, array_zyx: np.ndarray) -> np.ndarray:
        """Return the mean of voxels [Z, Y, X] in each cell, float32 [R, A, S]."""
        sides = {2 - file_axis: side for file_axis, side in zip(self.placement.file_axis, self.block, strict=True)}
        sums = array_zyx
        for axis in range(3):  # z first: whole slices are added, and fewer voxels are left
            sums = _sum_blocks(sums, axis, sides[axis])
        array = sums / np.float32(np.prod(self.block))
        oriented = array.transpose([2 - axis for axis in self.placement.file_axis])
        flips = tuple(axis for axis in range(3) if self.placement.flipped[axis])
        return np.ascontiguousarray(np.flip(oriented, flips))

    def to_patient_mm(self, cell: np.ndarray) -> Point:
        """Return the patient coordinates (L, P, S) of the middle of a cell, counted along R, A, S."""
        voxel = (np.asarray(cell) + 0.5) * self.block - 0.5
        for axis, side in enumerate(self.block):
            if self.placement.flipped[axis]:  # the cells begin at the file's first voxel
                voxel[axis] += self.placement.ras_shape[axis] % side
        x, y, z = to_patient(voxel[None], self.placement, self.geometry)[0]
        return float(x), float(y), float(z)


def _sum_blocks(array: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Return the sums of blocks of `side` voxels along an axis, float32."""
    count = array.shape[axis] // side
    index: list[slice] = [slice(None)] * 3
    sums = np.zeros([count if one == axis else size for one, size in enumerate(array.shape)], np.float32)
    for first in range(side):
        index[axis] = slice(first, count * side, side)
        sums += array[tuple(index)]
    return sums
