"""Lesions of a mask: their numbers, largest first, and their voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.components import label_components


@dataclass(frozen=True, eq=False)
class Foreground:
    """The voxels of all lesions.

    Attributes
    ----------
    index_zyx
        int64 [N, 3], in the order of the array.
    lesion
        Number of the lesion minus 1, int64 [N].
    count
        Number of lesions.
    """

    index_zyx: np.ndarray
    lesion: np.ndarray
    count: int

    @classmethod
    def of(cls, numbers_zyx: np.ndarray, count: int) -> Foreground:
        """Return the voxels of numbered lesions; see `number_lesions`."""
        flat = np.flatnonzero(numbers_zyx)
        index_zyx = np.stack(np.unravel_index(flat, numbers_zyx.shape), axis=1)
        return cls(index_zyx, numbers_zyx.reshape(-1)[flat].astype(np.int64) - 1, count)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values of voxels [N] over each lesion, float64 [count]."""
        sums = np.bincount(self.lesion, values, minlength=self.count)
        means: np.ndarray = sums / np.bincount(self.lesion, minlength=self.count)
        return means

    def highest(self, values: np.ndarray) -> np.ndarray:
        """Return the highest of values of voxels [N] in each lesion, float64 [count]."""
        highest = np.full(self.count, -np.inf)
        np.maximum.at(highest, self.lesion, values)
        return highest

    def boxes_zyx(self) -> list[tuple[slice, slice, slice]]:
        """Return the box around each lesion as an index of the array."""
        low = np.full((self.count, 3), np.iinfo(np.int64).max)
        high = np.zeros((self.count, 3), np.int64)
        np.minimum.at(low, self.lesion, self.index_zyx)
        np.maximum.at(high, self.lesion, self.index_zyx + 1)
        return [
            (slice(a, d), slice(b, e), slice(c, f))
            for (a, b, c), (d, e, f) in zip(low.tolist(), high.tolist(), strict=True)
        ]


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
    numbers_zyx, count = label_components(mask_zyx)
    flat = numbers_zyx.reshape(-1)
    foreground = np.flatnonzero(flat)
    labels = flat[foreground]
    sizes = np.bincount(labels, minlength=count + 1)[1:]
    by_size = np.argsort(-sizes, kind="stable")  # ndimage labels in the order of the first voxels
    new = np.zeros(count + 1, np.int32)
    new[by_size + 1] = np.arange(1, count + 1)
    flat[foreground] = new[labels]
    return numbers_zyx, count
