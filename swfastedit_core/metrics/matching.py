"""Matching of the lesions of a label and of a prediction, as autoPET V counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swfastedit_core.components import component_sizes, label_components

UNIONS_PER_SHARED = 10  # largest union of a match, in intersections: an IoU of 0.1 or more, in whole numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Components of a label and of a prediction, and the pairs of them that share voxels.

    Attributes
    ----------
    label_voxels, predicted_voxels
        int64, the voxels of each component.
    label_index, predicted_index, shared_voxels
        int64 of equal length: of each pair, the places of its components in the former two, and the voxels they share.
    """

    label_voxels: np.ndarray
    predicted_voxels: np.ndarray
    label_index: np.ndarray
    predicted_index: np.ndarray
    shared_voxels: np.ndarray

    @property
    def missed_voxels(self) -> int:
        """Voxels of the label's components that share none with the prediction, for FNV."""
        return int(np.delete(self.label_voxels, self.label_index).sum())

    @property
    def false_voxels(self) -> int:
        """Voxels of the predicted components that share none with the label, for FPV."""
        return int(np.delete(self.predicted_voxels, self.predicted_index).sum())


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
    """Find the 18-connected components of a label and of a prediction, and which of them share voxels.

    Parameters
    ----------
    truth, prediction
        bool [Z, Y, X], of the same shape.
    """
    foreground = np.flatnonzero(truth | prediction)
    label_numbers, label_voxels = _components_at(foreground, truth)
    predicted_numbers, predicted_voxels = _components_at(foreground, prediction)
    both = (label_numbers > 0) & (predicted_numbers > 0)
    pairs = (label_numbers[both] - 1) * np.int64(len(predicted_voxels)) + (predicted_numbers[both] - 1)
    pairs, shared_voxels = np.unique(pairs, return_counts=True)
    label_index, predicted_index = np.divmod(pairs, max(len(predicted_voxels), 1))
    return Overlaps(
        label_voxels=label_voxels,
        predicted_voxels=predicted_voxels,
        label_index=label_index,
        predicted_index=predicted_index,
        shared_voxels=shared_voxels,
    )


def _components_at(voxels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the components at some voxels, which hold all of the mask, and the components' sizes."""
    numbers, count = label_components(mask)
    numbers = numbers.ravel()[voxels]
    return numbers, component_sizes(numbers, count)


def match_lesions(overlaps: Overlaps) -> LesionCounts:
    """Count lesions by autoPET V's matching.

    A lesion of the label is found if a predicted component has an IoU of 0.1 or more with it. One component may find
    several lesions, and several components may find the same one. A false positive is a predicted component without
    such a lesion.
    """
    sizes = overlaps.label_voxels[overlaps.label_index] + overlaps.predicted_voxels[overlaps.predicted_index]
    matched = overlaps.shared_voxels * UNIONS_PER_SHARED >= sizes - overlaps.shared_voxels
    true_positives = np.unique(overlaps.label_index[matched]).size
    matches = np.unique(overlaps.predicted_index[matched]).size
    return LesionCounts(
        true_positives=true_positives,
        false_positives=overlaps.predicted_voxels.size - matches,
        false_negatives=overlaps.label_voxels.size - true_positives,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
