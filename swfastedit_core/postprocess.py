"""From logits to a mask: opinions of the networks, their combination, the floor under a lesion's size."""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor


def hard_vote(logits: Tensor) -> Tensor:
    """One network's argmax: uint8 1 where the tumour's logit is the larger, same shape."""
    return (logits > 0).to(torch.uint8)


def probability(logits: Tensor) -> Tensor:
    """One network's softmax: float32 probability of tumour, same shape."""
    return torch.sigmoid(logits)


def consensus(total: Tensor, networks: int) -> Tensor:
    """Combine summed opinions of an ensemble: tumour where their mean is above one half.

    Parameters
    ----------
    total
        Sum of `hard_vote` (majority vote; a tie is background) or of `probability` (mean of probabilities).
    networks
        Number of opinions in the sum.

    Returns
    -------
    Tensor
        bool, same shape and device.
    """
    return total > networks / 2


def remove_small_components(mask: Tensor, *, min_voxels: float) -> Tensor:
    """Clear the components of a mask that have fewer voxels than a floor.

    Parameters
    ----------
    mask
        bool [Z, Y, X] on any device. Components are 18-connected, as in the autoPET metrics.
    min_voxels
        Components with at least this many voxels stay.

    Returns
    -------
    Tensor
        bool, same shape and device.
    """
    array, xp, ndimage = _on_its_device(mask)
    labels, count = ndimage.label(array, structure=ndimage.generate_binary_structure(3, 2))
    keep = xp.bincount(labels.ravel(), minlength=count + 1) >= min_voxels
    keep[0] = False
    return torch.as_tensor(keep[labels].astype(xp.uint8), device=mask.device).bool()


def _on_its_device(mask: Tensor) -> tuple[Any, ModuleType, ModuleType]:
    """Return a mask as an array, its library and that library's ndimage: cupy's on CUDA where it is installed."""
    if mask.is_cuda:
        with suppress(ImportError):
            import cupy
            from cupyx.scipy import ndimage as cupy_ndimage

            return cupy.from_dlpack(mask.to(torch.uint8)), cupy, cupy_ndimage
    from scipy import ndimage

    return mask.cpu().numpy(), np, ndimage
