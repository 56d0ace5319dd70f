"""Augmentation of crops: SUV calibration, blur, noise, CT shift, gamma.

All of it is off by default, as in the recipe. `augment` changes SUV and HU, `apply_gamma` the network input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from swfastedit_core.checkpoint import Channels
from swfastedit_core.phantom.scanner import FWHM_PER_SIGMA
from swfastedit_core.train.setting import FINITE_AT_LEAST_0, RANGE_ABOVE_0, SHARE, require_valid, setting

RANDOMS_SUV = 1e-3  # as in the phantom: air has a little noise
Range = tuple[float, float]


@dataclass(frozen=True)
class AugmentSettings:
    """How often a crop is changed, and how much.

    Attributes
    ----------
    blur, blur_mm
        Probability that the PET is blurred, and the largest FWHM of the Gaussian; it is sampled uniformly.
    noise, noise_level, grain_mm
        Probability of added PET noise; lowest and highest standard deviation at an SUV of 1 (it grows with the root of
        the SUV); FWHM of its correlation.
    scale, scale_range
        Probability that all SUV are multiplied by a factor (simulates errors of dose, weight and calibration), and its
        range.
    misalign, misalign_mm, misalign_degrees
        Probability that the CT is moved rigidly against the PET; largest shift along x, y, z (larger along z,
        because of breathing); largest rotation about each axis through the middle of the crop.
    gamma, gamma_range
        Probability that the PET's network input is raised to a power, and the range of the exponent.

    Factors and exponents are sampled uniformly on a logarithmic scale.
    """

    blur: float = setting(0.0, "--blur", "probability that the PET is blurred", metavar="P", check=SHARE)
    blur_mm: float = setting(6.0, check=FINITE_AT_LEAST_0)
    noise: float = setting(0.0, "--noise", "probability that noise is added to the PET", metavar="P", check=SHARE)
    noise_level: Range = setting((0.03, 0.25), check=RANGE_ABOVE_0)
    grain_mm: Range = setting((4.0, 8.0), check=RANGE_ABOVE_0)
    scale: float = setting(
        0.0, "--scale", "probability that all SUV are multiplied by a factor", metavar="P", check=SHARE
    )
    scale_range: Range = setting((0.8, 1.25), check=RANGE_ABOVE_0)
    misalign: float = setting(
        0.0, "--misalign", "probability that the CT is moved against the PET", metavar="P", check=SHARE
    )
    misalign_mm: tuple[float, float, float] = setting((4.0, 4.0, 12.0), check=FINITE_AT_LEAST_0)
    misalign_degrees: float = setting(2.0, check=FINITE_AT_LEAST_0)
    gamma: float = setting(
        0.0, "--gamma", "probability that the PET's network input is raised to a power", metavar="P", check=SHARE
    )
    gamma_range: Range = setting((0.7, 1.4), check=RANGE_ABOVE_0)

    def __post_init__(self) -> None:
        require_valid(self)


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Sample from a range, uniformly on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def augment(
    image: np.ndarray,
    rng: np.random.Generator,
    settings: AugmentSettings,
    *,
    spacing_mm: tuple[float, float, float],
    channels: Channels,
) -> np.ndarray:
    """Change a crop at random, in this order: calibration, blur and noise of the PET, then the position of the CT.

    The label stays valid: the PET is not moved.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z] in SUV and HU; left as it is.
    spacing_mm
        Along x, y, z.
    channels
        What each channel is; "pet" is one of them.

    Returns
    -------
    ndarray
        float32, of the same shape; no SUV is below 0 where noise was added.
    """
    image = image.copy()
    pet = image[0]
    if rng.random() < settings.scale:
        pet *= np.float32(log_uniform(rng, settings.scale_range))
    if rng.random() < settings.blur:
        pet[...] = smooth(pet, rng.uniform(0.0, settings.blur_mm), spacing_mm)
    if rng.random() < settings.noise:
        level, grain_mm = log_uniform(rng, settings.noise_level), log_uniform(rng, settings.grain_mm)
        pet[...] = add_noise(pet, rng, level=level, grain_mm=grain_mm, spacing_mm=spacing_mm)
    if channels.takes_ct and rng.random() < settings.misalign:
        ct = image[1]
        max_shift_mm, max_degrees = np.array(settings.misalign_mm), settings.misalign_degrees
        shift_mm, degrees = rng.uniform(-max_shift_mm, max_shift_mm), rng.uniform(-max_degrees, max_degrees, 3)
        ct[...] = move(ct, shift_mm=shift_mm, degrees=degrees, spacing_mm=spacing_mm)
    return image


def apply_gamma(
    network_input: np.ndarray, rng: np.random.Generator, settings: AugmentSettings, *, channels: Channels
) -> np.ndarray:
    """Raise the PET's network input, 0 to 1, to a power at random. HU are calibrated and are not changed.

    Parameters
    ----------
    network_input
        float32 [C, X, Y, Z]; left as it is.

    Returns
    -------
    ndarray
        float32, of the same shape.
    """
    if rng.random() >= settings.gamma:
        return network_input
    changed = network_input.copy()
    changed[0] **= np.float32(log_uniform(rng, settings.gamma_range))
    return changed


def add_noise(
    pet: np.ndarray,
    rng: np.random.Generator,
    *,
    level: float,
    grain_mm: float,
    spacing_mm: tuple[float, float, float],
) -> np.ndarray:
    """Add noise like the phantom's scanner: variance ``level² · SUV``, correlated over `grain_mm` (FWHM).

    Returns
    -------
    ndarray
        float32 [X, Y, Z], nowhere below 0.
    """
    grain = smooth(rng.standard_normal(pet.shape, dtype=np.float32), grain_mm, spacing_mm, border="wrap")
    grain *= np.float32(level) / grain.std()
    grain *= np.sqrt(np.maximum(pet, 0.0) + np.float32(RANDOMS_SUV))
    grain += pet
    noisy: np.ndarray = np.maximum(grain, 0.0, out=grain)
    return noisy


def move(
    ct: np.ndarray, *, shift_mm: np.ndarray, degrees: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Rotate a volume about its middle and shift it, rigidly in mm, with linear interpolation.

    Voxels from outside the crop get the value of the nearest voxel of the crop. Air would be wrong: most crops end
    inside the patient, and the network could learn to detect the shift.

    Parameters
    ----------
    ct
        float32 [X, Y, Z].
    shift_mm
        Along x, y, z.
    degrees
        About x, y, z, in this order.

    Returns
    -------
    ndarray
        float32, of the same shape.
    """
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    middle_mm = (np.array(ct.shape) - 1) / 2 * spacing_mm
    # For each output voxel, compute the input position: subtract the shift, then apply the inverse rotation (the
    # transpose).
    inverse = rotation.T * spacing_mm / np.array(spacing_mm)[:, None]
    offset = (middle_mm - rotation.T @ (middle_mm + shift_mm)) / spacing_mm
    result: np.ndarray = ndimage.affine_transform(ct, inverse, offset, order=1, mode="nearest", output=np.float32)
    return result


def smooth(
    array: np.ndarray,
    fwhm_mm: float,
    spacing_mm: tuple[float, float, float],
    *,
    border: Literal["nearest", "wrap"] = "nearest",
) -> np.ndarray:
    """Convolve float32 [X, Y, Z] with a Gaussian that is isotropic in mm."""
    sigmas = [fwhm_mm / FWHM_PER_SIGMA / step for step in spacing_mm]
    result: np.ndarray = ndimage.gaussian_filter(array, sigmas, mode=border, truncate=3.0)
    return result
