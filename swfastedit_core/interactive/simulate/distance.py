"""Distance of each voxel of a region to the region's border, on the CPU or on a GPU."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.interactive.simulate.component import Components, depth_of, grown
from swfastedit_core.system.cupy_arrays import compute_with_cupy

OVERHEAD_VOXELS = 500  # a component costs as much time as so many voxels

Region = TypeVar("Region", np.ndarray, Tensor)


def distance_to_border(region: Region) -> Region:
    """Return the Euclidean distance of each voxel of a region to the nearest voxel outside, in voxels.

    Parameters
    ----------
    region
        Array or tensor of three dimensions, in any axis order; voxels that are not 0 are the region. Distances in a
        CUDA tensor are computed on the GPU if cupy works.

    Returns
    -------
    ndarray or Tensor
        float32, same shape and device: at least 1 in the region, 0 outside. An empty region gives zeros.

    Notes
    -----
    The border of the array is no border of the region, as in `scipy.ndimage.distance_transform_edt`. Only a region that
    fills the array has no voxel outside: there, the distances are those to the border of the array.
    """
    if isinstance(region, np.ndarray):
        return _distance_on_cpu(region != 0)
    mask = region != 0
    if mask.is_cuda and mask.any():
        distance = compute_with_cupy(mask.to(torch.uint8), lambda array: _distance_with_cupy(array, mask.device))
        if distance is not None:
            return distance
    return torch.from_numpy(_distance_on_cpu(mask.cpu().numpy())).to(mask.device)


def _distance_on_cpu(mask: np.ndarray) -> np.ndarray:
    """Compute component by component where this is faster, as for some lesions in a whole body.

    The distances are the same: the nearest voxel outside of a component touches it and is in no other component.
    """
    distance = np.zeros(mask.shape, np.float32)
    components = Components(mask)
    around = grown(components.around, mask.shape)
    if components.box_voxels + OVERHEAD_VOXELS * len(components) > mask[around].size:
        distance[around] = depth_of(mask[around])
        return distance
    for component in components:
        distance[component.slices][component.mask] = component.depth[component.mask]
    return distance


def _distance_with_cupy(mask: Any, device: torch.device) -> Tensor:
    import cupy
    from cupyx.scipy import ndimage as cupy_ndimage

    full = bool(mask.all())
    distance = cupy_ndimage.distance_transform_edt(cupy.pad(mask, 1) if full else mask, float64_distances=False)
    inside = (slice(1, -1),) * mask.ndim if full else ...
    return torch.as_tensor(distance[inside], dtype=torch.float32, device=device).clone()  # the memory of cupy is freed
