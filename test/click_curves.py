"""Curves for tests of the evaluation with clicks, written by hand."""

from __future__ import annotations

from swfastedit_core.evaluate.clicks.curve import Curve, Step
from swfastedit_core.metrics.overlap_scores import OverlapScores


def step(dice, *, fpv=0.0, fnv=None, lesions=(1, 0, 0), tumour=(), background=(), seconds=1.0, failure=""):
    """Make a step; `lesions` are true positives, false positives, false negatives."""
    found, false, missed = lesions
    scores = OverlapScores(
        dice=dice,
        fpv_ml=fpv,
        fnv_ml=dice if fnv is None else fnv,
        true_positives=found,
        false_positives=false,
        false_negatives=missed,
    )
    return Step(tumour=tuple(tumour), background=tuple(background), scores=scores, seconds=seconds, failure=failure)


def curve(*steps, drawn_by=""):
    return Curve(steps, drawn_by)
