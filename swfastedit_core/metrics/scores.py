"""All scores of one mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from grand_challenge_metrics.stats import calculate_confusion_matrix

from swfastedit_core.metrics.matching import LesionCounts, Overlaps, match_lesions, overlap_components
from swfastedit_core.metrics.surface import hd95_mm, surface_dice

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
        If the shapes differ or the rules are not known.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"label {truth.shape} and prediction {prediction.shape} differ in shape")
    if rules not in RULES:
        raise ValueError(f"rules must be one of {', '.join(RULES)}, not {rules!r}")
    box = _box(truth, prediction)
    truth, prediction = truth[box] != 0, prediction[box] != 0
    overlaps = overlap_components(truth, prediction)
    counts = match_lesions(overlaps)
    voxel_ml = math.prod(spacing_zyx_mm) / 1000
    label_voxels, predicted_voxels = int(overlaps.label_voxels.sum()), int(overlaps.predicted_voxels.sum())
    dice, fnv_ml = _by_rules(rules, truth, prediction, overlaps, voxel_ml=voxel_ml)
    precision, recall, f1 = _rates(counts, label_voxels)
    return Scores(
        dice=dice,
        fpv_ml=_unmet(overlaps.predicted_voxels, overlaps.predicted_index) * voxel_ml,
        fnv_ml=fnv_ml,
        precision=precision,
        recall=recall,
        f1=f1,
        surface_dice=surface_dice(truth, prediction, spacing_zyx_mm=spacing_zyx_mm, tolerance_mm=tolerance_mm),
        hd95_mm=hd95_mm(truth, prediction, spacing_zyx_mm=spacing_zyx_mm),
        label_ml=label_voxels * voxel_ml,
        prediction_ml=predicted_voxels * voxel_ml,
        volume_error_ml=(predicted_voxels - label_voxels) * voxel_ml,
        label_lesions=overlaps.label_voxels.size,
        predicted_lesions=overlaps.predicted_voxels.size,
        true_positives=counts.true_positives,
        false_positives=counts.false_positives,
        false_negatives=counts.false_negatives,
    )


def _by_rules(
    rules: str, truth: np.ndarray, prediction: np.ndarray, overlaps: Overlaps, *, voxel_ml: float
) -> tuple[float, float]:
    """Return Dice and FNV; for an empty label by the rules of a challenge."""
    if overlaps.label_voxels.size:
        (both, missed), (false, _) = calculate_confusion_matrix(truth, prediction, labels=[1, 0])
        fnv_ml = _unmet(overlaps.label_voxels, overlaps.label_index) * voxel_ml
        return float(2 * both / (2 * both + missed + false)), fnv_ml
    if rules != "autopet2":
        return math.nan, math.nan
    return (0.0 if overlaps.predicted_voxels.size else math.nan), 0.0


def _unmet(voxels: np.ndarray, met: np.ndarray) -> int:
    """Count the voxels of components that are in no overlapping pair."""
    return int(np.delete(voxels, np.unique(met)).sum())


def _rates(counts: LesionCounts, label_voxels: int) -> tuple[float, float, float]:
    return (counts.precision, counts.recall, counts.f1) if label_voxels else (math.nan, math.nan, math.nan)


def _box(truth: np.ndarray, prediction: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest index that holds the foreground of both arrays; of no voxel if there is none."""
    union = (truth != 0) | (prediction != 0)
    box = []
    for axis in range(union.ndim):
        used = np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis)))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0))
    return tuple(box)
