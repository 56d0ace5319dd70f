"""All scores of one mask."""

from __future__ import annotations

from dataclasses import dataclass

RULES = ("autopet2", "autopet3", "autopet4", "autopet5")  # whose convention holds for an empty label
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
        Share of both surfaces within a tolerance of the other one. Both empty: NaN. One empty: 0.
    hd95_mm
        95th percentile of the Hausdorff distance between border voxels, the larger of the two directions. One or both
        empty: NaN.
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
