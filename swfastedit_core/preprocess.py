"""From the file's grid to the network's grid and back: orientation and resampling, on the CPU and on CUDA.

`place` computes a `Placement`. `to_network_grid` resamples an image with it. `restore` is the inverse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box, triple
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.volume import Geometry, Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
MAX_VOXELS = 2**30  # of a resampled scan: 4 GiB as float32, 13 m³ at the recipe's spacing
PUBLISHED_INTENSITY = PercentileIntensity()
SLAB = 32  # voxels along the patient's last axis
SAME_SPACING_MM = SAME_STEP = 1e-3  # MONAI's AFFINE_TOL: grids that differ by less are left as they are


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input; part of a checkpoint.

    Attributes
    ----------
    spacing_mm
        Spacing along the axes closest to the patient's right-left, posterior-anterior, inferior-superior.
    intensity
        The mapping of SUV.
    ct_hu
        The HU that become 0 and 1, with clipping; used where the network takes a CT.
    """

    spacing_mm: tuple[float, float, float] = (2.03642011, 2.03642011, 3.0)
    intensity: PercentileIntensity | RangeIntensity = PUBLISHED_INTENSITY
    ct_hu: tuple[float, float] = (-1000.0, 1000.0)


@dataclass(frozen=True)
class Placement:
    """The relation of the network's grid to the file's grid. It holds all values that `restore` needs.

    The patient's axes R, A, S have the indices 0, 1, 2.

    Attributes
    ----------
    file_axis
        For each patient axis, the file's array axis (0 = x) closest to it.
    flipped
        For each patient axis, whether the file's axis runs against it.
    ras_shape
        Voxels along R, A, S at the file's spacing.
    network_shape
        Voxels along R, A, S at the network's spacing.
    step
        Network spacing / file spacing along R, A, S; exactly 1 along an axis that is not resampled. Voxel 0 of both
        grids has the same centre.
    """

    file_axis: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    ras_shape: tuple[int, int, int]
    network_shape: tuple[int, int, int]
    step: tuple[float, float, float]


def place(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Placement:
    """Plan the resampling of a file's grid to axes in RAS order at the given spacing.

    Axes are permuted and flipped to the closest patient axes, as in MONAI's ``Orientation`` and nibabel's
    ``io_orientation``; an oblique grid stays oblique. Resampling runs along the axes, as in MONAI's ``Spacing``, and
    voxel 0 keeps its position. As there, nothing is resampled along an axis whose spacings differ by 1e-3 mm at most,
    and along no axis if all spacings differ by a factor of 1e-3 at most and no number of voxels changes.

    In NIfTI files, rounding makes oblique axes slightly non-orthogonal. If the error is above 1e-8, MONAI shifts the
    grid by part of a voxel. This function does not.

    Raises
    ------
    UserError
        If the scan would have more than 2**30 voxels at that spacing.
    """
    file_axis, flipped = _closest_axes(LPS_TO_RAS @ geometry.axes_lps)
    file_spacing = np.array(geometry.spacing_mm)[list(file_axis)]
    ras_shape = tuple(geometry.size_xyz[axis] for axis in file_axis)
    step, network_shape = [], []
    for size, old, new in zip(ras_shape, file_spacing, spacing_mm, strict=True):
        same = abs(old - new) <= SAME_SPACING_MM
        step.append(1.0 if same else new / old)
        network_shape.append(size if same else int(np.round((size - 1) * old / new + 1.0)))
    if tuple(network_shape) == ras_shape and np.allclose(step, 1.0, rtol=1e-5, atol=SAME_STEP):
        step = [1.0, 1.0, 1.0]
    if math.prod(network_shape) > MAX_VOXELS:
        extent_m = " × ".join(f"{size * old / 1000:.4g}" for size, old in zip(ras_shape, file_spacing, strict=True))
        raise UserError(
            f"the scan measures {extent_m} m by its header and would have {math.prod(network_shape):.3g} voxels at the "
            f"network's spacing of {' × '.join(f'{mm:.4g}' for mm in spacing_mm)} mm, expected {MAX_VOXELS:.3g} at most"
        )
    return Placement(file_axis, flipped, triple(ras_shape), triple(network_shape), (step[0], step[1], step[2]))


def least_memory_bytes(placement: Placement) -> int:
    """Return the memory that a scan takes at least on its way to the network's grid.

    These are float32 voxels of the file, and on the network's grid SUV and the network's input.

    Parameters
    ----------
    placement
        From `place`.
    """
    return 4 * (math.prod(placement.ras_shape) + 2 * math.prod(placement.network_shape))


def to_network_grid(volume: Volume, placement: Placement, device: torch.device) -> Tensor:
    """Orient and resample a volume. Resampling is linear; positions beyond the last voxel take its value.

    Returns
    -------
    Tensor
        SUV, float32 [X, Y, Z] with X, Y, Z along R, A, S, contiguous, on `device`.
    """
    x, y, z = (slice(None, None, -1 if flipped else 1) for flipped in placement.flipped)
    oriented = volume.array_zyx.transpose(2, 1, 0).transpose(placement.file_axis)[x, y, z]
    tensor = torch.from_numpy(np.array(oriented, np.float32, order="C")).to(device)
    # The last axis is the slowest to sample. It comes first, because the tensor is smallest before upsampling.
    for axis in (2, 1, 0):
        if placement.step[axis] != 1.0:
            coordinates = np.arange(placement.network_shape[axis]) * placement.step[axis]
            tensor = _interpolate(tensor, axis, coordinates)
    return tensor


def restore(values: Tensor, box: Box, placement: Placement) -> tuple[Tensor, Box]:
    """Bring values in a box of the network's grid back to the file's grid: the inverse of `to_network_grid`.

    Parameters
    ----------
    values
        float32 [X, Y, Z] within `box`.
    box
        Position of the values on the network's grid.
    placement
        The placement that was passed to `to_network_grid`.

    Returns
    -------
    values_zyx : Tensor
        float32 [Z, Y, X], the part of the file's grid whose voxel centres lie in the box.
    file_box : Box
        That part, in x, y, z of the file.
    """
    slabs = list(restore_slabs(values, box, placement))
    whole = Box.around(slab for _, slab in slabs)
    restored = torch.empty(whole.shape[::-1], device=values.device)
    for part, slab in slabs:
        x, y, z = slab.relative_to(whole).slices
        restored[z, y, x] = part
    return restored, whole


def restore_slabs(values: Tensor, box: Box, placement: Placement) -> Iterator[tuple[Tensor, Box]]:
    """Restore slab by slab along the patient's last axis, so that the whole scan is never in memory as float32.

    Yields
    ------
    values_zyx : Tensor
        float32 [Z, Y, X].
    slab : Box
        Its voxels on the file's grid, in x, y, z. The slabs fill the part that `restore` returns.
    """
    inside = [_inside(box, placement, axis) for axis in range(3)]
    flips = [axis for axis in range(3) if placement.flipped[axis]]
    for first in range(0, max(len(inside[2]), 1), SLAB):
        indices = [*inside[:2], inside[2][first : first + SLAB]]
        slab = values
        for axis in (2, 0, 1):
            if placement.step[axis] != 1.0:
                slab = _interpolate(slab, axis, indices[axis] / placement.step[axis] - box.start[axis])
            elif axis == 2:
                low = int(indices[2][0]) - box.start[2] if len(indices[2]) else 0
                slab = slab[:, :, low : low + len(indices[2])]
        values_xyz = slab.flip(flips).permute([placement.file_axis.index(axis) for axis in range(3)])
        yield values_xyz.permute(2, 1, 0), _box_on_file(indices, placement)


def file_box(box: Box, region: Box, placement: Placement) -> Box:
    """Return the voxels of the file whose restored values depend on a box of the network's grid.

    Parameters
    ----------
    box
        Voxels on the network's grid.
    region
        Voxels on the network's grid that are restored.
    placement
        Of the network's grid on the file's.

    Returns
    -------
    Box
        In x, y, z of the file; a side is 0 if there is no such voxel.
    """
    grown = box.grown((1, 1, 1)).clipped(region)  # linear interpolation: up to the next voxel
    return _box_on_file([_inside(grown, placement, axis) for axis in range(3)], placement)


def network_box(box: Box, placement: Placement) -> Box:
    """Return the voxels of the network's grid from which a box of the file is restored.

    Parameters
    ----------
    box
        Voxels x, y, z of the file, at least one.
    placement
        Of the network's grid on the file's.
    """
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis, file_axis in enumerate(placement.file_axis):
        a, b = box.start[file_axis], box.stop[file_axis]
        if placement.flipped[axis]:
            a, b = placement.ras_shape[axis] - b, placement.ras_shape[axis] - a
        start[axis] = math.floor(a / placement.step[axis])
        stop[axis] = math.floor((b - 1) / placement.step[axis]) + 2
    return Box(triple(start), triple(stop)).clipped(Box.whole(placement.network_shape))


def _box_on_file(indices: list[np.ndarray], placement: Placement) -> Box:
    """Return the box of voxels with these indices along R, A, S at the file's spacing, in x, y, z of the file."""
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis, file_axis in enumerate(placement.file_axis):
        a, b = (int(indices[axis][0]), int(indices[axis][-1]) + 1) if len(indices[axis]) else (0, 0)
        size = placement.ras_shape[axis]
        start[file_axis], stop[file_axis] = (size - b, size - a) if placement.flipped[axis] else (a, b)
    return Box(triple(start), triple(stop))


def _inside(box: Box, placement: Placement, axis: int) -> np.ndarray:
    """Return the indices along one axis at the file's spacing, in RAS order, whose centres lie in a box."""
    indices = np.arange(placement.ras_shape[axis])
    coordinates = indices / placement.step[axis]
    last = placement.network_shape[axis] - 1
    first_inside = -np.inf if box.start[axis] == 0 else box.start[axis]
    last_inside = np.inf if box.stop[axis] > last else box.stop[axis] - 1
    inside: np.ndarray = indices[(coordinates >= first_inside) & (coordinates <= last_inside)]
    return inside


def to_patient(positions: np.ndarray, placement: Placement, geometry: Geometry) -> np.ndarray:
    """Return patient coordinates of positions on the network's grid.

    Parameters
    ----------
    positions
        Voxels along R, A, S, [N, 3].
    placement
        Of the network's grid on the file's.
    geometry
        Of the file.

    Returns
    -------
    ndarray
        L, P, S in mm, float64 [N, 3].
    """
    index_xyz = np.empty(positions.shape)
    for axis, file_axis in enumerate(placement.file_axis):
        along = positions[:, axis] * placement.step[axis]
        index_xyz[:, file_axis] = placement.ras_shape[axis] - 1 - along if placement.flipped[axis] else along
    patient_mm: np.ndarray = index_xyz * geometry.spacing_mm @ geometry.axes_lps.T + geometry.origin_mm
    return patient_mm


def _closest_axes(axes_ras: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Assign each file axis to a patient axis, the best aligned first, as nibabel's io_orientation does."""
    left = axes_ras.copy()
    file_axis, flipped = [0, 0, 0], [False, False, False]
    for column in np.argsort(np.min(-(axes_ras**2), axis=0), kind="stable"):
        row = int(np.argmax(np.abs(left[:, column])))
        file_axis[row], flipped[row] = int(column), bool(left[row, column] < 0)
        left[row, :] = 0.0
    return triple(file_axis), (flipped[0], flipped[1], flipped[2])


def _interpolate(tensor: Tensor, axis: int, coordinates: np.ndarray) -> Tensor:
    """Sample along one axis at fractional indices, linearly; indices beyond the ends are clamped."""
    last = tensor.shape[axis] - 1
    coordinates = np.clip(coordinates, 0, last)
    low = np.minimum(coordinates.astype(np.int64), max(last - 1, 0))
    weight = torch.from_numpy((coordinates - low).astype(np.float32)).to(tensor.device)
    below = torch.from_numpy(low).to(tensor.device)
    shape = [1, 1, 1]
    shape[axis] = -1
    above = (below + 1).clamp_(max=last)
    return tensor.index_select(axis, below).lerp_(tensor.index_select(axis, above), weight.view(shape))
