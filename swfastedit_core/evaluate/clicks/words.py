"""Protocols, steps and metrics in words."""

from __future__ import annotations

from swfastedit_core.evaluate import definitions as of_masks
from swfastedit_core.evaluate.cohort import Scoring

ABOUT = {
    "autopet4": "autoPET IV, task 1: fixed clicks, not from the prediction; step i, 0 to 10, has i tumour clicks and i "
    "background clicks.",
    "autopet5": "autoPET V: step 0 without clicks, then 5 steps that add a scribble on the largest error of the "
    "prediction; a third of the cases has center lines, random lines and boundaries each. An empty label gets no "
    "scribbles.",
    "corrective": "Each step adds clicks in the errors of the prediction, until it is right: one click at the deepest "
    "voxel (draw deepest), or at most one tumour click and one background click (draw uniform, distance).",
}
AXES = {
    "autopet4": "step: clicks of each kind",
    "autopet5": "step: scribbles",
    "corrective": "step: rounds of clicks",
}
OF_A_STEP = {
    "autopet4": "a tumour click and a background click",
    "autopet5": "a scribble",
    "corrective": "a click (draw deepest), or up to one of each kind",
}
CHALLENGE_FIGURES = {
    "autopet4": {
        "AUC-DSC": "area dice",
        "AUC-FPV": "area fpv_ml",
        "AUC-FNV": "area fnv_ml",
        "DSC@last": "last dice",
        "FPV@last": "last fpv_ml",
        "FNV@last": "last fnv_ml",
    },
    "autopet5": {"AUC-Dice": "area dice", "AUC-DMM": "area dmm", "Dice@last": "last dice", "DMM@last": "last dmm"},
    "corrective": {},
}


def definitions(protocol: str, scoring: Scoring) -> dict[str, str]:
    """Return what each figure is, by its name in the files."""
    masks = of_masks.definitions(scoring)
    return {
        "step": f"{ABOUT[protocol]} A step without a new click has the mask of the step before.",
        "clicks": "Tumour clicks and background clicks up to a step; points of scribbles.",
        "dice": masks["dice"],
        "fpv_ml": masks["fpv_ml"],
        "fnv_ml": masks["fnv_ml"],
        "dmm": "Detection matching metric of autoPET V, the F1 of lesions: 2 TP / (2 TP + FP + FN). A lesion of the "
        "label is found if a predicted component (18-connected) overlaps it with an IoU of 0.1 or more; a component "
        "without such a lesion is a false positive. Label empty: not defined. Of a cohort: pooled, by the sums of TP, "
        "FP and FN over all cases, false positives of empty labels included; or the mean over cases.",
        "area": "Area under the curve of a metric over the step numbers, by the trapezoidal rule, not normalised: a "
        "Dice of 1 at all of n + 1 steps has an area of n. The mean is over the areas of the cases.",
        "noc": "Number of steps until the Dice reaches 0.8 (NoC@80) or 0.9 (NoC@90) for the first time. A case that "
        "never reaches it counts with the last step, and as a failure.",
        "seconds": "Time from the clicks of a step to the settled mask; of step 0 from the scan in memory to the mask. "
        "Seconds a click: the mean over the steps after step 0 in which a window ran, then over the cases; a step has "
        f"{OF_A_STEP[protocol]}.",
        "failed": "A step that fails has a Dice and a DMM of 0; the next step has a new scribble on the last mask."
        if protocol == "autopet5"
        else "A case of which a step fails has no scores.",
    }
