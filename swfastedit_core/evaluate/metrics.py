"""How good a mask is: Dice, false-positive and false-negative volume as the autoPET challenges count them."""

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
        0 to 1; NaN where the truth is empty, as in the challenges, whose means leave such cases out.

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
    """Volume of the predicted components without a single voxel of truth in them (FPV).

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape. Components are 18-connected.
    voxel_ml
        Volume of a voxel in ml.

    Returns
    -------
    float
        ml; 0 where nothing is predicted.
    """
    truth, prediction = _masks(truth, prediction)
    return _unmet_voxels(prediction, truth) * voxel_ml


def false_negative_ml(truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float) -> float:
    """Volume of the true components without a single predicted voxel in them (FNV).

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
    return _unmet_voxels(truth, prediction) * voxel_ml if truth.any() else math.nan


def _unmet_voxels(mask: np.ndarray, other: np.ndarray) -> int:
    """Voxels of the mask's components that the other mask does not touch."""
    numbers, count = label_components(mask)
    sizes = component_sizes(numbers, count)
    met = np.unique(numbers[other & mask]) - 1
    sizes[met] = 0
    return int(sizes.sum())


def _masks(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    return truth != 0, prediction != 0
