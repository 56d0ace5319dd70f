"""Lesions of a mask: their numbers, largest first, and the sums over their voxels."""

from __future__ import annotations

import numpy as np

from swfastedit_core.components import component_sizes, label_components


def number_lesions(mask_zyx: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the 18-connected components of a mask, numbered from the largest.

    Parameters
    ----------
    mask_zyx
        Array [Z, Y, X]; voxels that are not 0 are foreground.

    Returns
    -------
    numbers_zyx : ndarray
        int32, same shape: 0 in the background, 1 in the largest lesion. Of lesions of the same size the one whose
        first voxel comes first in the array has the lower number.
    count : int
        Number of lesions.
    """
    labels, count = label_components(mask_zyx)
    sizes = component_sizes(labels, count)
    by_size = np.argsort(-sizes, kind="stable")  # ndimage labels in the order of the first voxels
    numbers = np.zeros(count + 1, np.int32)
    numbers[by_size + 1] = np.arange(1, count + 1)
    return numbers[labels], count
