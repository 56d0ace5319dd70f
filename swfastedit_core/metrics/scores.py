"""All scores of one mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swfastedit_core.metrics.matching import match_lesions, overlap_components
from swfastedit_core.metrics.overlap_scores import RULES, crop
from swfastedit_core.metrics.surface import hd95_mm, surface_dice

TOLERANCE_MM = 2.0  # of the surface Dice


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of a mask against a label.

    Attributes
    ----------
    dice
        Dice coefficient. Label and mask empty: NaN. Label empty: 0 by the rules of autoPET II, else NaN.
    fpv_ml, fnv_ml
        Volume of the predicted components that do not overlap the label, and of the label's components that do not
        overlap the prediction. Components are 18-connected. Empty label: FNV is 0 by the rules of autoPET II, else NaN.
    precision, recall, f1
        By lesion, as autoPET V matches them (IoU of 0.1 or more); NaN where the divisor is 0, and if the label is
        empty.
    surface_dice
        Share of both surfaces within a tolerance of the other one, as surface-distance (google-deepmind) defines it.
        Both empty: NaN. One empty: 0.
    hd95_mm
        95th percentile of the Hausdorff distance between border voxels, the larger of the two directions, as
        grand-challenge-metrics defines it. One or both empty: NaN, so that means leave it out.
    label_ml, prediction_ml, volume_error_ml
        Volumes, and prediction minus label.
    label_lesions, predicted_lesions
        Number of 18-connected components.
    true_positives, false_positives, false_negatives
        Lesions by the same matching: found, predicted without a match, missed. False positives of empty labels count.
    """

    dice: float
    fpv_ml: float
    fnv_ml: float
    precision: float
    recall: float
    f1: float
    surface_dice: float
    hd95_mm: float
    label_ml: float
    prediction_ml: float
    volume_error_ml: float
    label_lesions: int
    predicted_lesions: int
    true_positives: int
    false_positives: int
    false_negatives: int


def score_mask(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_zyx_mm: Sequence[float],
    rules: str = "autopet5",
    tolerance_mm: float = TOLERANCE_MM,
) -> Scores:
    """Score a mask against a label.

    Parameters
    ----------
    truth, prediction
        Arrays [Z, Y, X] of the same shape; voxels that are not 0 are foreground.
    spacing_zyx_mm
        Distance of voxel centres along z, y, x.
    rules
        One of `RULES`: whose convention holds for an empty label.
    tolerance_mm
        Of the surface Dice.

    Raises
    ------
    ValueError
        If the shapes differ, the rules are not known or the tolerance is negative.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"label {truth.shape} and prediction {prediction.shape} differ in shape")
    if rules not in RULES:
        raise ValueError(f"rules must be one of {', '.join(RULES)}, not {rules!r}")
    truth, prediction = crop(truth, prediction)
    overlaps = overlap_components(truth, prediction)
    lesions = match_lesions(overlaps)
    voxel_ml = math.prod(map(float, spacing_zyx_mm)) / 1000
    label_voxels, predicted_voxels = int(overlaps.label_voxels.sum()), int(overlaps.predicted_voxels.sum())
    empty = not label_voxels
    return Scores(
        dice=_dice(truth, prediction, rules=rules),
        fpv_ml=overlaps.false_voxels * voxel_ml,
        fnv_ml=math.nan if empty and rules != "autopet2" else overlaps.missed_voxels * voxel_ml,
        precision=math.nan if empty else lesions.precision,
        recall=lesions.recall,
        f1=math.nan if empty else lesions.f1,
        surface_dice=surface_dice(truth, prediction, spacing_zyx_mm=spacing_zyx_mm, tolerance_mm=tolerance_mm),
        hd95_mm=hd95_mm(truth, prediction, spacing_zyx_mm=spacing_zyx_mm),
        label_ml=label_voxels * voxel_ml,
        prediction_ml=predicted_voxels * voxel_ml,
        volume_error_ml=(predicted_voxels - label_voxels) * voxel_ml,
        label_lesions=overlaps.label_voxels.size,
        predicted_lesions=overlaps.predicted_voxels.size,
        true_positives=lesions.true_positives,
        false_positives=lesions.false_positives,
        false_negatives=lesions.false_negatives,
    )


def _dice(truth: np.ndarray, prediction: np.ndarray, *, rules: str) -> float:
    """Return the Dice coefficient, for an empty label by the rules of a challenge.

    It is 2 TP / (2 TP + FP + FN) in float64; `dice_from_confusion_matrix` of the same package rounds to float32.
    """
    from grand_challenge_metrics.stats import calculate_confusion_matrix  # only the extra `train` brings it

    union = truth | prediction  # true negatives do not count
    (both, missed), (false, _) = calculate_confusion_matrix(truth[union], prediction[union], labels=[1, 0])
    if both + missed or (rules == "autopet2" and false):
        return float(2 * both / (2 * both + missed + false))
    return math.nan
