"""Dice, false positive volume and false negative volume, as the autoPET challenges define them."""

from __future__ import annotations

import math

import numpy as np
from grand_challenge_metrics.stats import calculate_confusion_matrix, dice_from_confusion_matrix

from swfastedit_core.components import component_sizes, label_components


def dice(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Dice coefficient of the foreground, 2|A∩B| / (|A|+|B|).

    Parameters
    ----------
    truth, prediction
        Arrays of the same shape; foreground is what is not 0.

    Returns
    -------
    float
        0 to 1; NaN where the truth is empty. The challenges leave such cases out of their means.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    truth, prediction = _masks(truth, prediction)
    if not truth.any():
        return math.nan
    return float(dice_from_confusion_matrix(calculate_confusion_matrix(truth, prediction, [0, 1]))[1])


def false_positive_ml(truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float) -> float:
    """Return the false positive volume (FPV): that of predicted components without a voxel of truth.

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape. Components are 18-connected.
    voxel_ml
        Volume of a voxel in ml.

    Returns
    -------
    float
        ml; 0 where the prediction is empty.
    """
    truth, prediction = _masks(truth, prediction)
    return _untouched_voxels(prediction, truth) * voxel_ml


def false_negative_ml(truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float) -> float:
    """Return the false negative volume (FNV): that of true components without a predicted voxel.

    Parameters
    ----------
    truth, prediction, voxel_ml
        As in `false_positive_ml`.

    Returns
    -------
    float
        ml; NaN where the truth is empty.
    """
    truth, prediction = _masks(truth, prediction)
    return _untouched_voxels(truth, prediction) * voxel_ml if truth.any() else math.nan


def _untouched_voxels(mask: np.ndarray, other: np.ndarray) -> int:
    """Return the number of voxels in components of a mask that do not overlap with the other mask."""
    numbers, count = label_components(mask)
    sizes = component_sizes(numbers, count)
    touched = np.unique(numbers[other & mask]) - 1
    sizes[touched] = 0
    return int(sizes.sum())


def _masks(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    return truth != 0, prediction != 0
