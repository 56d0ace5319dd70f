"""SUV and HU → network input, 0 to 1, for tensors on the CPU and on CUDA."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.errors import is_out_of_memory


@dataclass(frozen=True)
class PercentileIntensity:
    """The recipe's mapping: percentiles of the whole image, air included, become 0 and 1, with clipping."""

    lower: float = 0.05
    upper: float = 99.95


@dataclass(frozen=True)
class RangeIntensity:
    """A fixed SUV range becomes 0 and 1, with clipping; it does not depend on the field of view."""

    lower_suv: float
    upper_suv: float


def scale_intensity(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> Tensor:
    """Map SUV to the network's input range [0, 1].

    Parameters
    ----------
    suv
        float32 of any shape.
    intensity
        The mapping. If both percentiles are equal, as in an empty image, SUV are only shifted, as in MONAI's
        ``ScaleIntensityRange``.

    Returns
    -------
    Tensor
        float32, same shape and device.
    """
    low, high = _limits(suv, intensity)
    return _to_unit(suv, low, high) if high > low else suv - low


def intensity_limits(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> tuple[float, float]:
    """Return the SUV that training maps to 0 and to 1; the second is above the first.

    If both percentiles are equal, because nearly all voxels are air, they are 1 apart, and the scale is kept.
    """
    low, high = _limits(suv, intensity)
    return low, high if high > low else low + 1.0


def scale_hu(hu: Tensor, ct_hu: tuple[float, float]) -> Tensor:
    """Map HU to the network's input range [0, 1].

    Parameters
    ----------
    hu
        float32 of any shape.
    ct_hu
        The HU that become 0 and 1; values outside are clipped.

    Returns
    -------
    Tensor
        float32, same shape and device.
    """
    return _to_unit(hu, *ct_hu)


def percentiles(values: Tensor, q: tuple[float, float]) -> tuple[float, float]:
    """Return two exact percentiles (0 to 100, linear between neighbours) of a tensor of any size.

    On CUDA the values are sorted on the device, because torch.quantile refuses more than 16 M elements. If memory does
    not suffice for that, they are computed on the CPU.
    """
    flat = values.reshape(-1)
    if flat.is_cuda:
        try:
            return percentiles_of_sorted(torch.sort(flat).values, q)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
    low, high = np.percentile(flat.cpu().numpy(), q).tolist()
    return low, high


def percentiles_of_sorted(values: Tensor, q: tuple[float, float]) -> tuple[float, float]:
    """Return two percentiles of values in rising order; only the voxels next to them leave the device.

    Parameters
    ----------
    values
        float32 [N], in rising order, on any device.
    q
        Percentiles from 0 to 100.
    """
    positions = [percentile / 100.0 * (values.numel() - 1) for percentile in q]
    neighbours = [int(end) for position in positions for end in (math.floor(position), math.ceil(position))]
    found = values[torch.tensor(neighbours, device=values.device)].tolist()
    low, high = (
        below + (above - below) * (position - math.floor(position))
        for position, below, above in zip(positions, found[::2], found[1::2], strict=True)
    )
    return low, high


def _limits(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> tuple[float, float]:
    if isinstance(intensity, RangeIntensity):
        return intensity.lower_suv, intensity.upper_suv
    return percentiles(suv, (intensity.lower, intensity.upper))


def _to_unit(values: Tensor, low: float, high: float) -> Tensor:
    return (values - low).div_(high - low).clamp_(0.0, 1.0)
