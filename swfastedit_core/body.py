"""Where the patient is in a scan, in cells of about 8 mm, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from swfastedit_core.box import Box, Triple, triple

# The body. Means over cells of about 8 mm are robust against noise. Tissue has an SUV above 0.1, air and the table far
# less. The threshold is lower for an image with low values, so that it keeps the body of a cold scan.
CELL_MM = 8.0
TISSUE_SUV = 0.1
TISSUE_OF_PEAK = 0.02  # share of the 99.9th percentile of the cells
BODY_PEAK = 3.0  # a large component is kept if its hottest cell is at least this many times the threshold
BODY_ML = 30.0  # smallest volume of a large component
HOT_PEAK = 10.0  # a component of any size is kept if its hottest cell is at least this many times the threshold
MARGIN_MM = 8.0
HOT_SUV = 1.5  # cells with a hotter voxel are searched wherever they are: a small lesion hardly raises a cell's mean
HOT_OF_PEAK = 0.05  # share of the 99.9th percentile of the cells, for an image with larger values than SUV
TOUCHING = np.ones((3, 3, 3), int)  # cells that share a corner are neighbours


@dataclass(frozen=True, eq=False)
class Cells:
    """Mean and maximum SUV in cells of about 8 mm; `find_body` reads them.

    Attributes
    ----------
    mean_suv, max_suv
        float32 [X, Y, Z].
    cell
        Sides of a cell in voxels. The last cell of an axis may extend beyond the image.
    shape
        Voxels of the image.
    spacing_mm
        Spacing of the image's voxels along x, y, z.
    """

    mean_suv: np.ndarray
    max_suv: np.ndarray
    cell: Triple
    shape: Triple
    spacing_mm: tuple[float, float, float]

    @property
    def cell_ml(self) -> float:
        """Volume of a cell in ml."""
        return float(np.prod(self.cell) * np.prod(self.spacing_mm)) / 1000.0

    @cached_property
    def peak(self) -> float:
        """The 99.9th percentile of the means."""
        return float(np.percentile(self.mean_suv, 99.9))

    @cached_property
    def hot(self) -> np.ndarray:
        """Cells with a voxel that is hot enough for a lesion, bool [X, Y, Z]."""
        return self.max_suv > max(HOT_SUV, HOT_OF_PEAK * self.peak)


@dataclass(frozen=True, eq=False)
class Body:
    """The position of the patient, in cells of about 8 mm.

    Attributes
    ----------
    cells
        bool [X, Y, Z], True where a cell belongs to the patient; at least one does.
    cell
        Sides of a cell in voxels.
    margin
        Voxels to add around the patient along x, y, z.
    shape
        Voxels of the image.
    spots_ml
        Volume of each hot spot apart from the patient: its integral of SUV divided by its highest SUV.
    """

    cells: np.ndarray
    cell: Triple
    margin: Triple
    shape: Triple
    spots_ml: tuple[float, ...] = ()

    def box(self, z_start: int, z_stop: int) -> Box | None:
        """Return the box around the patient between two z positions in voxels; None if there is no part of it."""
        first, last = max(z_start, 0) // self.cell[2], -(-min(z_stop, self.shape[2]) // self.cell[2])
        index = np.argwhere(self.cells[:, :, first:last])
        if not len(index):
            return None
        index[:, 2] += first
        occupied = Box(triple(index.min(axis=0) * self.cell), triple((index.max(axis=0) + 1) * self.cell))
        return occupied.grown(self.margin).clipped(Box.whole(self.shape))


def mean_cells(suv: Tensor, spacing_mm: tuple[float, float, float]) -> Cells:
    """Return mean and maximum of an image over cells of about 8 mm.

    Parameters
    ----------
    suv
        float32 [X, Y, Z] on any device.
    spacing_mm
        Along x, y, z.
    """
    shape = triple(suv.shape)
    cell = triple(max(1, min(round(CELL_MM / mm), side)) for mm, side in zip(spacing_mm, shape, strict=True))
    pooled = functional.avg_pool3d(suv[None, None], cell, ceil_mode=True, count_include_pad=False)
    return Cells(pooled[0, 0].cpu().numpy(), _max_cells(suv, cell).cpu().numpy(), cell, shape, spacing_mm)


def find_body(cells: Cells) -> Body | None:
    """Find the patient: components of tissue-like uptake that are large, or small and hot (a lesion in a finger).

    The threshold is the smaller of 0.1 and 2 % of the 99.9th percentile of the cells. So an image with smaller values
    than SUV keeps its body. Cells with a voxel above SUV 1.5 are kept wherever they are.

    Returns
    -------
    Body or None
        None if no body is found. The caller then plans windows over the whole volume.
    """
    mean_suv = cells.mean_suv
    threshold = max(min(TISSUE_SUV, TISSUE_OF_PEAK * cells.peak), 0.0)
    labels, count = ndimage.label(mean_suv > threshold, structure=TOUCHING)
    if count == 0:
        return None
    volume_ml = np.bincount(labels.ravel())[1:] * cells.cell_ml
    peak = ndimage.maximum(mean_suv, labels, np.arange(1, count + 1))
    large = (volume_ml >= BODY_ML) & (peak >= BODY_PEAK * threshold)
    kept = large | (peak >= HOT_PEAK * threshold)
    if not kept.any():
        return None
    margin = triple(int(np.ceil(MARGIN_MM / mm)) for mm in cells.spacing_mm)
    main = np.concatenate(([False], large))[labels]
    patient = np.concatenate(([False], kept))[labels] | cells.hot
    return Body(patient, cells.cell, margin, cells.shape, _spots_ml(cells, main))


def _max_cells(suv: Tensor, cell: Triple) -> Tensor:
    """Return the maximum of each cell, axis by axis, which is several times as fast as torch's pooling."""
    for axis, side in enumerate(cell):  # x first: along it whole rows are compared, and fewer voxels are left
        whole = suv.shape[axis] // side * side
        blocks = (*suv.shape[:axis], whole // side, side, *suv.shape[axis + 1 :])
        parts = [suv.narrow(axis, 0, whole).reshape(blocks).amax(axis + 1)]
        if whole < suv.shape[axis]:
            parts.append(suv.narrow(axis, whole, suv.shape[axis] - whole).amax(axis, keepdim=True))
        suv = torch.cat(parts, axis)
    return suv


def _spots_ml(cells: Cells, main: np.ndarray) -> tuple[float, ...]:
    """Return the volume of each component of hot cells that does not touch the large ones.

    Interpolation hardly changes the volume of a single voxel.
    """
    spots, count = ndimage.label(cells.hot & ~main, structure=TOUCHING)
    touching = np.unique(spots[ndimage.binary_dilation(main, TOUCHING)]) if count else ()
    index = np.setdiff1d(np.arange(1, count + 1), touching)
    if not len(index):
        return ()
    integral = ndimage.sum_labels(cells.mean_suv, spots, index) * cells.cell_ml
    return tuple((integral / ndimage.maximum(cells.max_suv, spots, index)).tolist())
