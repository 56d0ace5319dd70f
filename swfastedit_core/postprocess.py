"""From logits to a mask: opinions of the networks, their combination, the floor under a lesion's size."""

from __future__ import annotations

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


def remove_small_components(mask: Any, *, min_voxels: float) -> Any:
    """Clear the components of a mask that have fewer voxels than a floor.

    Parameters
    ----------
    mask
        bool or uint8 array of three dimensions, numpy or cupy. Components are 18-connected, as in the autoPET metrics.
    min_voxels
        Components with at least this many voxels stay.

    Returns
    -------
    array
        bool, same shape, of the same library.
    """
    ndimage, xp = _libraries(mask)
    labels, count = ndimage.label(mask, structure=ndimage.generate_binary_structure(3, 2))
    sizes = xp.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= min_voxels
    keep[0] = False
    return keep[labels]


def _libraries(array: Any) -> tuple[ModuleType, ModuleType]:
    """scipy.ndimage and numpy, or their twins for an array on a GPU."""
    if isinstance(array, np.ndarray):
        from scipy import ndimage

        return ndimage, np
    import cupy
    from cupyx.scipy import ndimage as cupy_ndimage

    return cupy_ndimage, cupy
