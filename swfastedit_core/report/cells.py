"""A scan in cells of about 7 mm along the patient's axes, for questions about organs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.preprocess import Placement, place, to_patient
from swfastedit_core.report.record import Point
from swfastedit_core.volume import Geometry, Volume

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
        placement = place(geometry, geometry.spacing_mm)  # only the order and direction of the axes are used
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
        array = array_zyx
        for file_axis, side in zip(self.placement.file_axis, self.block, strict=True):
            axis = 2 - file_axis
            whole = array.shape[axis] // side * side
            kept = array[tuple(slice(whole) if axis == other else slice(None) for other in range(3))]
            split = (*kept.shape[:axis], whole // side, side, *kept.shape[axis + 1 :])
            array = kept.reshape(split).mean(axis + 1, dtype=np.float32)
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


def cells_of(volume: Volume) -> tuple[np.ndarray, CellGrid]:
    """Return the mean SUV in cells, float32 [R, A, S], and their grid."""
    grid = CellGrid.of(volume.geometry)
    return grid.mean(volume.array_zyx), grid
