"""SUVpeak: the mean SUV of a sphere of 1 ml, as the IBSI defines its local and its global intensity peak.

A voxel belongs to the sphere if its centre does; all count the same, voxels outside of the lesion as well. Beyond the
border of the image, the mean is over the voxels that exist. Zwanenburg et al., The image biomarker standardisation
initiative, section 3.2 (arXiv:1612.07003), codes VJGA and 0F91.
"""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.volume import Volume

RADIUS_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)  # 6.2035 mm: a sphere of 1 ml
CHUNK = 2**16  # voxels at a time: their sums stay in the cache of the processor


def sphere_means(pet: Volume, index_zyx: np.ndarray, *, radius_mm: float = RADIUS_MM) -> np.ndarray:
    """Return the mean SUV of the sphere around each of some voxels.

    Parameters
    ----------
    pet
        SUV [Z, Y, X].
    index_zyx
        The voxels in the middle of the spheres, whole numbers [N, 3].
    radius_mm
        Radius of the sphere. It holds at least the voxel in its middle.

    Returns
    -------
    ndarray
        float64 [N].
    """
    offsets_zyx = sphere_offsets(pet.geometry.spacing_mm[::-1], radius_mm)
    reach, shape = offsets_zyx.max(axis=0), np.array(pet.array_zyx.shape)
    means = np.empty(len(index_zyx))
    flat = np.ascontiguousarray(pet.array_zyx).reshape(-1)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    for first in range(0, len(index_zyx), CHUNK):
        index = index_zyx[first : first + CHUNK]
        inside = ((index >= reach) & (index < shape - reach)).all(axis=1)
        part = means[first : first + CHUNK]
        part[inside] = _means_inside(flat, index[inside] @ strides, offsets_zyx @ strides)
        part[~inside] = _means_at_border(pet.array_zyx, index[~inside], offsets_zyx)
    return means


def local_peak(pet: Volume, index_zyx: np.ndarray) -> float:
    """Return the IBSI's local intensity peak (VJGA) of a lesion: the sphere is around its hottest voxel.

    Of several voxels with the highest SUV, the one with the highest peak counts.

    Parameters
    ----------
    pet
        SUV [Z, Y, X].
    index_zyx
        The voxels of the lesion, [N, 3], N above 0.
    """
    suv = pet.array_zyx[tuple(index_zyx.T)]
    return float(sphere_means(pet, index_zyx[suv == suv.max()]).max())


def global_peak(pet: Volume, index_zyx: np.ndarray) -> float:
    """Return the IBSI's global intensity peak (0F91) of a lesion: the highest mean of all spheres around its voxels.

    Parameters
    ----------
    pet, index_zyx
        As in `local_peak`.
    """
    return float(sphere_means(pet, index_zyx).max())


def sphere_offsets(spacing_zyx_mm: tuple[float, ...], radius_mm: float) -> np.ndarray:
    """Return the voxels whose centres lie within a sphere around the centre of a voxel.

    Parameters
    ----------
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.
    radius_mm
        Radius of the sphere.

    Returns
    -------
    ndarray
        int64 [K, 3] relative to the voxel in the middle, along z, y, x.
    """
    reach = [int(radius_mm / mm) for mm in spacing_zyx_mm]
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((offsets * spacing_zyx_mm) ** 2).sum(axis=1) <= radius_mm**2 * (1 + 1e-9)
    within: np.ndarray = offsets[inside]
    return within


def _means_inside(flat: np.ndarray, index: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the means of spheres that lie in the image completely; positions count along the flattened image."""
    sums = np.zeros(len(index))
    for offset in offsets:
        sums += flat[index + offset]
    return sums / len(offsets)


def _means_at_border(array_zyx: np.ndarray, index_zyx: np.ndarray, offsets_zyx: np.ndarray) -> np.ndarray:
    """Return the means of spheres that the border of the image may cut."""
    sums, counts = np.zeros(len(index_zyx)), np.zeros(len(index_zyx), np.int64)
    for offset in offsets_zyx:
        position = index_zyx + offset
        inside = ((position >= 0) & (position < array_zyx.shape)).all(axis=1)
        sums[inside] += array_zyx[tuple(position[inside].T)]
        counts += inside
    means: np.ndarray = sums / counts
    return means
