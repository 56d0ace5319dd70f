"""SUV and HU → network input, 0 to 1, for tensors on the CPU and on CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from swfastedit_core.system.cupy_arrays import compute_with_cupy


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

    On CUDA, cupy computes them on the device (torch.quantile refuses more than 16 M elements). If cupy does not work,
    they are computed on the CPU.
    """
    flat = values.reshape(-1)
    if flat.is_cuda:

        def with_cupy(array: Any) -> list[float]:
            import cupy

            percentiles: list[float] = cupy.percentile(array, q).tolist()
            return percentiles

        result = compute_with_cupy(flat, with_cupy)
        if result is not None:
            return result[0], result[1]
    low, high = np.percentile(flat.cpu().numpy(), q).tolist()
    return low, high


def _limits(suv: Tensor, intensity: PercentileIntensity | RangeIntensity) -> tuple[float, float]:
    if isinstance(intensity, RangeIntensity):
        return intensity.lower_suv, intensity.upper_suv
    return percentiles(suv, (intensity.lower, intensity.upper))


def _to_unit(values: Tensor, low: float, high: float) -> Tensor:
    return (values - low).div_(high - low).clamp_(0.0, 1.0)
