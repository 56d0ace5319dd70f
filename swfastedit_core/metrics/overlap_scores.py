"""The scores of the autoPET challenges from one pass over the components: Dice, FPV, FNV and lesions (DMM)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swfastedit_core.metrics.matching import LesionCounts, match_lesions, overlap_components

RULES = ("autopet2", "autopet3", "autopet4", "autopet5")  # whose convention holds for an empty label


@dataclass(frozen=True, kw_only=True)
class OverlapScores:
    """The scores of a mask that need no distances, so that they are fast enough for every step of an interaction.

    Attributes
    ----------
    dice, fpv_ml, fnv_ml
        As in `scores.Scores`.
    true_positives, false_positives, false_negatives
        Lesions, as `match_lesions` counts them. False positives of an empty label count.
    """

    dice: float
    fpv_ml: float
    fnv_ml: float
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def dmm(self) -> float:
        """Detection matching metric of autoPET V: the F1 of the lesions; NaN if the label is empty."""
        if not self.true_positives + self.false_negatives:
            return math.nan
        return LesionCounts(
            true_positives=self.true_positives,
            false_positives=self.false_positives,
            false_negatives=self.false_negatives,
        ).f1


def score_overlap(
    truth: np.ndarray, prediction: np.ndarray, *, voxel_ml: float, rules: str = "autopet5"
) -> OverlapScores:
    """Score a mask against a label.

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape; voxels that are not 0 are foreground.
    voxel_ml
        Volume of a voxel in ml.
    rules
        One of `RULES`: whose convention holds for an empty label.

    Raises
    ------
    ValueError
        If the shapes differ or the rules are not known.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"label {truth.shape} and prediction {prediction.shape} differ in shape")
    if rules not in RULES:
        raise ValueError(f"rules must be one of {', '.join(RULES)}, not {rules!r}")
    overlaps = overlap_components(*crop(truth, prediction))
    lesions = match_lesions(overlaps)
    both, label_voxels, predicted_voxels = (
        int(voxels.sum()) for voxels in (overlaps.shared_voxels, overlaps.label_voxels, overlaps.predicted_voxels)
    )
    old = rules == "autopet2"
    defined = label_voxels or (old and predicted_voxels)
    return OverlapScores(
        dice=2 * both / (label_voxels + predicted_voxels) if defined else math.nan,
        fpv_ml=overlaps.false_voxels * voxel_ml,
        fnv_ml=overlaps.missed_voxels * voxel_ml if label_voxels or old else math.nan,
        true_positives=lesions.true_positives,
        false_positives=lesions.false_positives,
        false_negatives=lesions.false_negatives,
    )


def crop(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two masks as bool in the smallest box that holds both; of no voxel if both are empty."""
    truth, prediction = truth != 0, prediction != 0
    for axis in range(truth.ndim):
        others = tuple(other for other in range(truth.ndim) if other != axis)
        used = np.flatnonzero(truth.any(axis=others) | prediction.any(axis=others))
        box = [slice(None)] * truth.ndim
        box[axis] = slice(used[0], used[-1] + 1) if used.size else slice(0)
        truth, prediction = truth[tuple(box)], prediction[tuple(box)]
    return truth, prediction
