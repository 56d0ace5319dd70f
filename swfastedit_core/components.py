"""Connected components of masks: labels, sizes, removal of small components.

Voxels are neighbours if they share a face or an edge (18-connected), as in the metrics of the autoPET challenges.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from swfastedit_core.system.cupy_arrays import compute_with_cupy

NEIGHBOURS = ndimage.generate_binary_structure(3, 2)  # 18, and the voxel itself


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the connected components of a mask.

    Parameters
    ----------
    mask
        Array of three dimensions; voxels that are not 0 are foreground.

    Returns
    -------
    numbers : ndarray
        int32, same shape: 0 in the background, 1 to `count` in the components.
    count : int
        Number of components.
    """
    numbers, count = ndimage.label(mask, structure=NEIGHBOURS)
    return numbers, int(count)


def count_components(mask: np.ndarray) -> int:
    """Return the number of components of a mask of 0 and 1; only the box around them is labelled, to save memory."""
    box = ndimage.find_objects(mask)
    return label_components(mask[box[0]])[1] if box else 0


def component_sizes(numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the voxels of each component, int64 [count]; component 1 comes first.

    Parameters
    ----------
    numbers, count
        From `label_components`.
    """
    sizes: np.ndarray = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    return sizes


def remove_small_components(mask: Tensor, *, min_voxels: float) -> Tensor:
    """Clear the components of a mask that have fewer than `min_voxels` voxels.

    Parameters
    ----------
    mask
        bool [Z, Y, X], on any device.
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

            large = _large_components(array, min_voxels, cupy, cupy_ndimage)
            return torch.as_tensor(large, device=mask.device).bool()  # a copy: the memory of cupy is freed

        large = compute_with_cupy(mask.to(torch.uint8), with_cupy)
        if large is not None:
            return large
    return torch.from_numpy(_large_components(mask.cpu().numpy(), min_voxels, np, ndimage)).bool().to(mask.device)


def _large_components(array: Any, min_voxels: float, xp: ModuleType, image: ModuleType) -> Any:
    """Return the mask without its small components as uint8; `xp` and `image` are numpy and ndimage, or cupy's."""
    numbers, count = image.label(array, structure=image.generate_binary_structure(3, 2))
    keep = xp.bincount(numbers.ravel(), minlength=count + 1) >= min_voxels
    keep[0] = False
    return keep[numbers].astype(xp.uint8)
