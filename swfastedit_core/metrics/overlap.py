"""Scores of a mask: Dice, false-positive and false-negative volume, as the autoPET challenges define them."""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.components import component_sizes, label_components


def dice(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return the Dice coefficient of the foreground, 2|A∩B| / (|A|+|B|).

    Parameters
    ----------
    truth, prediction
        Arrays of the same shape; voxels that are not 0 are foreground.

    Returns
    -------
    float
        0 to 1; NaN if the truth is empty. The challenges leave such cases out of their means.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    truth, prediction = _masks(truth, prediction)
    if not truth.any():
        return math.nan
    both = np.count_nonzero(truth & prediction)
    return float(2 * both / (np.count_nonzero(truth) + np.count_nonzero(prediction)))


def agreement_dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice coefficient of two masks of which neither is the truth.

    Parameters
    ----------
    one, other
        Arrays of the same shape; voxels that are not 0 are foreground.

    Returns
    -------
    float
        0 to 1; 1 if both are empty, 0 if one of them is.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    one, other = _masks(one, other)
    return dice(one, other) if one.any() else float(not other.any())


def false_positive_ml(truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float) -> float:
    """Return the volume of the predicted components that do not overlap the truth (FPV).

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape. Components are 18-connected.
    voxel_ml
        Volume of a voxel in ml.

    Returns
    -------
    float
        ml; 0 if the prediction is empty.
    """
    truth, prediction = _masks(truth, prediction)
    return _unmet_voxels(prediction, truth) * voxel_ml


def false_negative_ml(truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float) -> float:
    """Return the volume of the true components that do not overlap the prediction (FNV).

    Parameters
    ----------
    truth, prediction, voxel_ml
        As in `false_positive_ml`.

    Returns
    -------
    float
        ml; NaN if the truth is empty.
    """
    truth, prediction = _masks(truth, prediction)
    return _unmet_voxels(truth, prediction) * voxel_ml if truth.any() else math.nan


def _unmet_voxels(mask: np.ndarray, other: np.ndarray) -> int:
    """Count the voxels in the components of a mask that do not overlap the other mask."""
    numbers, count = label_components(mask)
    sizes = component_sizes(numbers, count)
    met = np.unique(numbers[other & mask]) - 1
    sizes[met] = 0
    return int(sizes.sum())


def _masks(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    return truth != 0, prediction != 0
