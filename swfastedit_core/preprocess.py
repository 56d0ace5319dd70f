"""From the file's grid to the network's and back: orientation, resampling, intensity; and from the CT's to the PET's.

One code for CPU and CUDA tensors. The forward steps record what they did in a `Placement`; `restore` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from swfastedit_core.errors import UserError
from swfastedit_core.gpu import on_gpu
from swfastedit_core.volume import AIR_HU as AIR_HU
from swfastedit_core.volume import Geometry, Volume, to_image

T = TypeVar("T")

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
MAX_VOXELS = 2**30  # of a resampled scan: 4 GiB as float32, two metres cubed at the recipe's spacing
SAME_SPACING_MM = 1e-3  # MONAI's tolerance for leaving a grid as it is
SAME_GRID_MM = 1e-2  # between corners of two grids that mean the same; NIfTI keeps coordinates as float32


@dataclass(frozen=True)
class PercentileIntensity:
    """Per-image percentiles of the whole image, air included, mapped to [0, 1] and clipped: the recipe's."""

    lower: float = 0.05
    upper: float = 99.95


@dataclass(frozen=True)
class RangeIntensity:
    """A fixed SUV range mapped to [0, 1] and clipped; does not depend on what is in view."""

    lower_suv: float
    upper_suv: float


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its image; part of a checkpoint.

    Attributes
    ----------
    spacing_mm
        Spacing along the axes closest to the patient's right-left, posterior-anterior, inferior-superior.
    intensity
        How SUV become network input.
    ct_hu
        HU that are mapped to [0, 1] and clipped; used where "ct" is a channel.
    """

    spacing_mm: tuple[float, float, float] = (2.03642011, 2.03642011, 3.0)
    intensity: PercentileIntensity | RangeIntensity = PercentileIntensity()
    ct_hu: tuple[float, float] = (-1000.0, 1000.0)


@dataclass(frozen=True)
class Box:
    """A block of voxels: from `start` up to but not including `stop`, along x, y, z."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        return x1 - x0, y1 - y0, z1 - z0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index into an array [X, Y, Z]."""
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Box:
        """All of an array of this shape."""
        return cls((0, 0, 0), shape)


@dataclass(frozen=True)
class Placement:
    """How the network's grid lies on the file's, enough to undo it.

    The patient's axes R, A, S are counted 0, 1, 2.

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
        Network spacing / file spacing along R, A, S; exactly 1 where nothing is resampled. Voxel 0 of both
        grids has the same centre.
    """

    file_axis: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    ras_shape: tuple[int, int, int]
    network_shape: tuple[int, int, int]
    step: tuple[float, float, float]


def resample_ct(ct: Volume, grid: Geometry) -> Volume:
    """Bring a CT to the PET's grid by patient coordinates.

    Linear between voxel centres, `AIR_HU` outside the CT's field. The field ends with the outer faces of its voxels;
    from the outermost centres to there, half a voxel, their value goes on.

    Parameters
    ----------
    ct
        HU, [Z, Y, X], of any geometry.
    grid
        The PET's, of any geometry.

    Returns
    -------
    Volume
        HU, float32 [Z, Y, X], on `grid`. Voxels that lie on this grid already are returned as they are, not copied.

    Raises
    ------
    UserError
        As `require_overlap`.
    """
    if ct.geometry == grid:
        return ct
    if ct.geometry.size_xyz == grid.size_xyz and np.allclose(
        ct.geometry.corners_mm, grid.corners_mm, rtol=0, atol=SAME_GRID_MM
    ):
        return Volume(ct.array_zyx, grid)
    require_overlap(ct.geometry, grid)
    return resample(ct, grid, outside=AIR_HU)


def resample(volume: Volume, grid: Geometry, *, outside: float) -> Volume:
    """Bring a volume to another grid, linearly, by patient coordinates.

    Parameters
    ----------
    volume
        [Z, Y, X], of any geometry.
    grid
        Of any geometry.
    outside
        Value beyond the outer faces of the volume's voxels.

    Returns
    -------
    Volume
        float32 [Z, Y, X], on `grid`.
    """
    image = to_image(volume)
    resampled = sitk.Resample(
        image,
        grid.size_xyz,
        sitk.Transform(),
        sitk.sitkLinear,
        grid.origin_mm,
        grid.spacing_mm,
        grid.direction,
        outside,
        sitk.sitkFloat32,
    )
    del image  # before the next copy
    return Volume(sitk.GetArrayFromImage(resampled), grid)


def require_overlap(ct: Geometry, grid: Geometry, *, source: str = "the CT") -> None:
    """Refuse a CT that lies beside the PET: it would be all air.

    Parameters
    ----------
    ct, grid
        The CT's and the PET's.
    source
        The CT's name, for the message.

    Raises
    ------
    UserError
        If the whole PET lies on the far side of one of the CT's six faces.
    """
    corners_mm = grid.corners_mm
    index_xyz = (corners_mm - ct.origin_mm) @ ct.axes_lps / ct.spacing_mm
    before, behind = index_xyz.max(axis=0) < -0.5, index_xyz.min(axis=0) > np.array(ct.size_xyz) - 0.5
    if before.any() or behind.any():
        raise UserError(
            f"{source}: lies {_extent(ct.corners_mm)} and the PET {_extent(corners_mm)}, without overlap, "
            "expected two images of one patient in the same coordinates"
        )


def place(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Placement:
    """Plan the way from a file's grid to axes in RAS order at the given spacing.

    Oblique grids keep their obliqueness: axes are permuted and flipped to the closest patient axes, as MONAI's
    ``Orientation`` and nibabel's ``io_orientation`` do, and resampling runs along the axes, as MONAI's
    ``Spacing`` does. Voxel 0 keeps its place: MONAI means that too, but shifts the grid by part of a voxel where an
    oblique affine is orthogonal to less than 1e-8, as in NIfTI files; that accident of rounding is not followed.

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
    if math.prod(network_shape) > MAX_VOXELS:
        extent_m = " × ".join(f"{size * old / 1000:.4g}" for size, old in zip(ras_shape, file_spacing, strict=True))
        raise UserError(
            f"the scan measures {extent_m} m by its header and would have {math.prod(network_shape):.3g} voxels at the "
            f"network's spacing of {' × '.join(f'{mm:.4g}' for mm in spacing_mm)} mm, expected {MAX_VOXELS:.3g} at most"
        )
    return Placement(file_axis, flipped, _three(ras_shape), _three(network_shape), _three(step))


def to_network_grid(volume: Volume, placement: Placement, device: torch.device) -> Tensor:
    """Orient and resample a volume (linear; beyond the last voxel its value goes on).

    Returns
    -------
    Tensor
        SUV, float32 [X, Y, Z] with X, Y, Z along R, A, S, contiguous, on `device`.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(volume.array_zyx, np.float32)).to(device)
    tensor = tensor.permute(2, 1, 0).permute(placement.file_axis)
    tensor = tensor.flip([axis for axis in range(3) if placement.flipped[axis]])
    for axis in range(3):
        if placement.step[axis] != 1.0:
            coordinates = np.arange(placement.network_shape[axis]) * placement.step[axis]
            tensor = _interpolate(tensor, axis, coordinates)
    return tensor.contiguous()


def restore(values: Tensor, box: Box, placement: Placement) -> tuple[Tensor, Box]:
    """Bring values from a box of the network's grid back to the file's grid: the inverse of `to_network_grid`.

    Parameters
    ----------
    values
        float32 [X, Y, Z] within `box`.
    box
        Where on the network's grid the values lie.
    placement
        What `to_network_grid` was given.

    Returns
    -------
    values_zyx : Tensor
        float32 [Z, Y, X], the part of the file's grid whose voxel centres lie in the box.
    file_box : Box
        That part, in x, y, z of the file.
    """
    ras_start, ras_stop = [], []
    for axis in range(3):
        coordinates = np.arange(placement.ras_shape[axis]) / placement.step[axis]
        last = placement.network_shape[axis] - 1
        first_inside = -np.inf if box.start[axis] == 0 else box.start[axis]
        last_inside = np.inf if box.stop[axis] > last else box.stop[axis] - 1
        inside = np.flatnonzero((coordinates >= first_inside) & (coordinates <= last_inside))
        ras_start.append(int(inside[0]) if inside.size else 0)
        ras_stop.append(int(inside[-1]) + 1 if inside.size else 0)
        if placement.step[axis] != 1.0:
            values = _interpolate(values, axis, coordinates[inside] - box.start[axis])
    flips = [axis for axis in range(3) if placement.flipped[axis]]
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis, file_axis in enumerate(placement.file_axis):
        a, b, size = ras_start[axis], ras_stop[axis], placement.ras_shape[axis]
        start[file_axis], stop[file_axis] = (size - b, size - a) if axis in flips else (a, b)
    values_xyz = values.flip(flips).permute([placement.file_axis.index(axis) for axis in range(3)])
    return values_xyz.permute(2, 1, 0).contiguous(), Box(_three(start), _three(stop))


def scale_intensity(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> Tensor:
    """Map SUV to the network's input range [0, 1].

    Parameters
    ----------
    suv
        float32 of any shape.
    intensity
        The mapping. Where both percentiles are equal, as in an empty image, SUV are shifted and clipped only.

    Returns
    -------
    Tensor
        float32, same shape and device.
    """
    return _to_unit(suv, *intensity_limits(suv, intensity))


def intensity_limits(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> tuple[float, float]:
    """Return the SUV that `scale_intensity` maps to 0 and to 1; the second is above the first."""
    if isinstance(intensity, RangeIntensity):
        low, high = intensity.lower_suv, intensity.upper_suv
    else:
        low, high = percentiles(suv, (intensity.lower, intensity.upper))
    if high <= low:  # nearly everything is air: MONAI leaves the scale alone, and so do weights trained with it
        high = low + 1.0
    return low, high


def scale_hu(hu: Tensor, ct_hu: tuple[float, float]) -> Tensor:
    """Map HU to the network's input range [0, 1].

    Parameters
    ----------
    hu
        float32 of any shape.
    ct_hu
        The HU that become 0 and 1; beyond them values are clipped.

    Returns
    -------
    Tensor
        float32, same shape and device.
    """
    return _to_unit(hu, *ct_hu)


def percentiles(values: Tensor, q: tuple[float, float]) -> tuple[float, float]:
    """Two exact percentiles (0 to 100, linear between neighbours) of a tensor of any size.

    On CUDA cupy computes them on the device (torch.quantile refuses more than 16 M elements); where cupy does not
    work they are computed on the CPU.
    """
    flat = values.reshape(-1)
    if flat.is_cuda:

        def with_cupy(array: Any) -> list[float]:
            import cupy

            return cupy.percentile(array, q).tolist()  # type: ignore[no-any-return]

        found = on_gpu(flat, with_cupy)
        if found is not None:
            return found[0], found[1]
    low, high = np.percentile(flat.cpu().numpy(), q).tolist()
    return low, high


def _to_unit(values: Tensor, low: float, high: float) -> Tensor:
    return (values - low).div_(high - low).clamp_(0.0, 1.0)


def _extent(corners_mm: np.ndarray) -> str:
    """Describe a grid's place in the patient, as far as a message needs it."""
    low, high = (", ".join(f"{mm:.0f}" for mm in corner) for corner in (corners_mm.min(axis=0), corners_mm.max(axis=0)))
    return f"from ({low}) to ({high}) mm"


def _closest_axes(axes_ras: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Assign each file axis to a patient axis, the best aligned first, as nibabel's io_orientation does."""
    left = axes_ras.copy()
    file_axis, flipped = [0, 0, 0], [False, False, False]
    for column in np.argsort(np.min(-(axes_ras**2), axis=0), kind="stable"):
        row = int(np.argmax(np.abs(left[:, column])))
        file_axis[row], flipped[row] = int(column), bool(left[row, column] < 0)
        left[row, :] = 0.0
    return _three(file_axis), (flipped[0], flipped[1], flipped[2])


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
    return torch.lerp(tensor.index_select(axis, below), tensor.index_select(axis, above), weight.view(shape))


def _three(values: Iterable[T]) -> tuple[T, T, T]:
    first, second, third = values
    return first, second, third
