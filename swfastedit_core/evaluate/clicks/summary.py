"""Averages over cases: by step, areas, number of clicks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swfastedit_core.evaluate.clicks.curve import METRICS, Curve, CurveResult, area, first_step_with
from swfastedit_core.evaluate.summary import Lesions, Statistics, pool_lesions, statistics

TARGETS = (0.8, 0.9)  # Dice


@dataclass(frozen=True, kw_only=True)
class StepSummary:
    """All cases at one step.

    Attributes
    ----------
    step
        Its number.
    metrics
        By the names of `METRICS`.
    lesions
        Of all cases together; its F1 is the pooled DMM.
    tumour_clicks, background_clicks
        Mean numbers of clicks up to this step, or points of scribbles.
    seconds
        Of the cases in which a mask was computed in this step.
    """

    step: int
    metrics: dict[str, Statistics]
    lesions: Lesions
    tumour_clicks: float
    background_clicks: float
    seconds: Statistics


@dataclass(frozen=True, kw_only=True)
class NumberOfClicks:
    """Number of steps until a Dice is reached, NoC.

    Attributes
    ----------
    target
        The Dice.
    steps
        Over the cases that define a Dice; the last step where the target is never reached.
    failures
        Number of these cases.
    """

    target: float
    steps: Statistics
    failures: int


@dataclass(frozen=True, kw_only=True)
class ClickSummary:
    """A cohort.

    Attributes
    ----------
    cases, failed, empty_labels
        Number of cases, of those without scores, and of scored ones without a lesion in the label.
    failed_steps
        Steps that failed and score 0.
    steps
        By step.
    areas
        By the names of `METRICS`: of the areas of the cases.
    pooled_dmm_area
        Area of the pooled DMM; None if it is not defined at a step.
    noc
        For each of `TARGETS`.
    seconds_per_click
        Of the means of the cases.
    """

    cases: int
    failed: int
    empty_labels: int
    failed_steps: int
    steps: tuple[StepSummary, ...]
    areas: dict[str, Statistics]
    pooled_dmm_area: float | None
    noc: tuple[NumberOfClicks, ...]
    seconds_per_click: Statistics


def summarise_curves(results: Sequence[CurveResult]) -> ClickSummary:
    """Average the curves of cases.

    Parameters
    ----------
    results
        At least one has a curve; all curves have the same number of steps.
    """
    curves = [result.scores for result in results if result.scores is not None]
    steps = tuple(_summarise_step(curves, number) for number in range(len(curves[0].steps)))
    pooled = [math.nan if one.lesions.f1.value is None else one.lesions.f1.value for one in steps]
    pooled_area = area(pooled)
    return ClickSummary(
        cases=len(results),
        failed=len(results) - len(curves),
        empty_labels=sum(curve.label_is_empty for curve in curves),
        failed_steps=sum(bool(step.failure) for curve in curves for step in curve.steps),
        steps=steps,
        areas={name: statistics([area(curve.values(name)) for curve in curves]) for name in METRICS},
        pooled_dmm_area=None if math.isnan(pooled_area) else pooled_area,
        noc=tuple(number_of_clicks(curves, target) for target in TARGETS),
        seconds_per_click=statistics([float(np.mean(one)) for curve in curves if (one := curve.seconds_of_clicks)]),
    )


def number_of_clicks(curves: Sequence[Curve], target: float) -> NumberOfClicks:
    """Return after how many steps the cases reach a Dice; cases without a Dice, with an empty label, are left out."""
    defined = [dice for curve in curves if not np.isnan(dice := curve.values("dice")).any()]
    reached = [first_step_with(dice, target) for dice in defined]
    steps = [len(dice) - 1 if step is None else step for dice, step in zip(defined, reached, strict=True)]
    return NumberOfClicks(target=target, steps=statistics(steps), failures=reached.count(None))


def _summarise_step(curves: Sequence[Curve], number: int) -> StepSummary:
    steps = [curve.steps[number] for curve in curves]
    tumour, background = np.mean([curve.clicks_until(number) for curve in curves], axis=0)
    return StepSummary(
        step=number,
        metrics={name: statistics([getattr(step.scores, name) for step in steps]) for name in METRICS},
        lesions=pool_lesions([step.scores for step in steps]),
        tumour_clicks=float(tumour),
        background_clicks=float(background),
        seconds=statistics([step.seconds for step in steps if step.seconds is not None]),
    )
