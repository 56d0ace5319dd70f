"""What each metric is, in words."""

from __future__ import annotations

from swfastedit_core.evaluate.cohort import Scoring

CHALLENGES = {"autopet2": "autoPET II", "autopet3": "autoPET III", "autopet4": "autoPET IV", "autopet5": "autoPET V"}


def definitions(scoring: Scoring) -> dict[str, str]:
    """Return what each metric is, with the rules and the tolerance in use, by its name in the tables."""
    old = scoring.rules == "autopet2"
    empty = "Label empty: 0 if the prediction has a lesion, else not defined." if old else "Label empty: not defined."
    return {
        "dice": f"Dice coefficient of the voxels, 0 to 1. {empty}",
        "fpv_ml": "False positive volume in ml: predicted components (18-connected) that do not overlap the label.",
        "fnv_ml": "False negative volume in ml: components of the label (18-connected) that do not overlap the "
        f"prediction. Label empty: {'0' if old else 'not defined'}.",
        "precision": "True positive lesions divided by true and false positive ones. A lesion of the label is found if "
        "a predicted component overlaps it with an IoU of 0.1 or more (autoPET V). Label empty: not defined.",
        "recall": "True positive lesions divided by all lesions of the label. Label empty: not defined.",
        "f1": "2 TP / (2 TP + FP + FN) of lesions. Of a cohort: by the sums of TP, FP and FN over all cases, false "
        "positives of empty labels included. Of a case with an empty label: not defined.",
        "surface_dice": f"Share of both surfaces that lies within {scoring.tolerance_mm:g} mm of the other one, by "
        "area, 0 to 1 (surface-distance, google-deepmind). Both empty: not defined; one empty: 0.",
        "hd95_mm": "95th percentile of the distances between border voxels in mm, the larger of both directions "
        "(grand-challenge-metrics; the one of surface-distance differs). One or both empty: not defined.",
        "label_ml": "Volume of the label in ml.",
        "prediction_ml": "Volume of the prediction in ml.",
        "volume_error_ml": "Volume of the prediction minus that of the label, in ml.",
        "label_lesions": "Number of 18-connected components of the label.",
        "predicted_lesions": "Number of 18-connected components of the prediction.",
        "true_positives": "Lesions of the label that are found.",
        "false_positives": "Predicted components without a match.",
        "false_negatives": "Lesions of the label that are missed.",
    }
