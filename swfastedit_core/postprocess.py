"""From logits to a mask: opinions of the networks, their combination, the floor under a lesion's size."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.system.gpu import on_gpu


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
    if mask.is_cuda:

        def with_cupy(array: Any) -> Tensor:
            import cupy
            from cupyx.scipy import ndimage as cupy_ndimage

            return torch.as_tensor(_large_components(array, min_voxels, cupy, cupy_ndimage), device=mask.device)

        found = on_gpu(mask.to(torch.uint8), with_cupy)
        if found is not None:
            return found.bool()
    from scipy import ndimage

    return torch.from_numpy(_large_components(mask.cpu().numpy(), min_voxels, np, ndimage)).bool().to(mask.device)


def _large_components(array: Any, min_voxels: float, xp: ModuleType, ndimage: ModuleType) -> Any:
    """Return the mask without its small components as uint8; array, numpy-like library and ndimage of one kind."""
    labels, count = ndimage.label(array, structure=ndimage.generate_binary_structure(3, 2))
    keep = xp.bincount(labels.ravel(), minlength=count + 1) >= min_voxels
    keep[0] = False
    return keep[labels].astype(xp.uint8)
