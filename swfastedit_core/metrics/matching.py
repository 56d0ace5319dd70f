"""Matching of the lesions of a label and of a prediction, as autoPET V counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swfastedit_core.components import component_sizes, label_components

IOU_TENTHS = 1  # a lesion is found if a predicted component has an IoU of 0.1 or more with it


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Which components of a label and of a prediction share voxels, and how many.

    Attributes
    ----------
    label_voxels, predicted_voxels
        int64, voxels of each component.
    label_index, predicted_index, shared_voxels
        int64 of equal length: for each pair of components that share voxels, their positions and the shared voxels.
    """

    label_voxels: np.ndarray
    predicted_voxels: np.ndarray
    label_index: np.ndarray
    predicted_index: np.ndarray
    shared_voxels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LesionCounts:
    """Lesions of a label that were found and missed, and predicted components without a match."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Found lesions / (found lesions + false positives); NaN if there are none of both."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Found lesions / lesions; NaN if there is no lesion."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN if all three are 0."""
        found = 2 * self.true_positives
        return _ratio(found, found + self.false_positives + self.false_negatives)


def overlap_components(truth: np.ndarray, prediction: np.ndarray) -> Overlaps:
    """Find the 18-connected components of a label and of a prediction and what they share.

    Parameters
    ----------
    truth, prediction
        bool arrays [Z, Y, X] of the same shape.
    """
    label_numbers, label_count = label_components(truth)
    predicted_numbers, predicted_count = label_components(prediction)
    both = truth & prediction
    pairs = label_numbers[both].astype(np.int64) * (predicted_count + 1) + predicted_numbers[both]
    pair, shared = np.unique(pairs, return_counts=True)
    return Overlaps(
        label_voxels=component_sizes(label_numbers, label_count),
        predicted_voxels=component_sizes(predicted_numbers, predicted_count),
        label_index=pair // (predicted_count + 1) - 1,
        predicted_index=pair % (predicted_count + 1) - 1,
        shared_voxels=shared,
    )


def match_lesions(overlaps: Overlaps) -> LesionCounts:
    """Count lesions by autoPET V's matching.

    A lesion of the label is found if a predicted component has an IoU of 0.1 or more with it. One component may find
    several lesions, and several components may find the same one. A false positive is a predicted component without
    such a lesion.
    """
    sizes = overlaps.label_voxels[overlaps.label_index] + overlaps.predicted_voxels[overlaps.predicted_index]
    matched = overlaps.shared_voxels * 10 >= (sizes - overlaps.shared_voxels) * IOU_TENTHS
    true_positives = np.unique(overlaps.label_index[matched]).size
    matches = np.unique(overlaps.predicted_index[matched]).size
    return LesionCounts(
        true_positives=true_positives,
        false_positives=overlaps.predicted_voxels.size - matches,
        false_negatives=overlaps.label_voxels.size - true_positives,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
