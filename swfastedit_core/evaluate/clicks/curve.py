"""The scores of one case from step to step, and what is derived from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from swfastedit_core.evaluate.cohort import ScoredCase
from swfastedit_core.evaluate.stored_results import Kind
from swfastedit_core.metrics.overlap_scores import OverlapScores

Voxel = tuple[int, int, int]
METRICS = ("dice", "fpv_ml", "fnv_ml", "dmm")  # with an area each


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes
    ----------
    tumour, background
        Its new clicks, voxels x, y, z of the file.
    scores
        Of the mask with all clicks so far.
    seconds
        Time from the clicks to the mask; of step 0 from the scan to the mask. None if no window ran, so that the mask
        is that of the step before: there was no click, or all clicks repeat earlier ones or lie outside all windows.
    failure
        Why there is no mask, so that the scores are 0; empty if there is one.
    """

    tumour: tuple[Voxel, ...] = ()
    background: tuple[Voxel, ...] = ()
    scores: OverlapScores
    seconds: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class Curve:
    """The steps of a case, from step 0, which has no clicks.

    Attributes
    ----------
    steps
        All steps of the protocol.
    drawn_by
        What the clicks of this case depend on besides the protocol, such as the strategy of its scribbles.
    """

    steps: tuple[Step, ...]
    drawn_by: str = ""

    def values(self, metric: str) -> np.ndarray:
        """Return a metric of `METRICS`, or another attribute of the scores, by step; float64."""
        return np.array([getattr(step.scores, metric) for step in self.steps], np.float64)

    @property
    def label_is_empty(self) -> bool:
        """Whether the label has no lesion."""
        first = self.steps[0].scores
        return not first.true_positives + first.false_negatives

    def clicks_until(self, step: int) -> tuple[int, int]:
        """Return the number of tumour and of background clicks up to a step, or points of scribbles."""
        steps = self.steps[: step + 1]
        return sum(len(one.tumour) for one in steps), sum(len(one.background) for one in steps)

    @property
    def failed_step(self) -> int | None:
        """The first step that failed; None if none did."""
        return next((number for number, step in enumerate(self.steps) if step.failure), None)

    @property
    def seconds_of_clicks(self) -> list[float]:
        """Times of the steps after step 0 in which a mask was computed."""
        return [one.seconds for one in self.steps[1:] if one.seconds is not None]


CurveResult = ScoredCase[Curve]


def area(values: Sequence[float] | np.ndarray) -> float:
    """Return the area under a curve as autoPET IV and V define it: trapezoids over the step numbers, not normalised.

    Parameters
    ----------
    values
        By step, from step 0.

    Returns
    -------
    float
        The best possible Dice, 1 at each of n + 1 steps, has an area of n. NaN if a value is NaN.
    """
    return float(np.trapezoid(np.asarray(values, np.float64)))


def first_step_with(dice: Sequence[float] | np.ndarray, target: float) -> int | None:
    """Return the first step whose Dice is at least a target; None if there is none."""
    reached = np.flatnonzero(np.asarray(dice) >= target)
    return int(reached[0]) if reached.size else None


def encode_curve(curve: Curve) -> dict[str, Any]:
    """Return a curve as values for JSON."""
    return {"drawn_by": curve.drawn_by, "steps": [_encode_step(step) for step in curve.steps]}


def decode_curve(values: Mapping[str, Any]) -> Curve:
    """Return the curve of `encode_curve`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the values are others.
    """
    return Curve(tuple(_decode_step(step) for step in values["steps"]), str(values["drawn_by"]))


CURVES = Kind[Curve](encode_curve, decode_curve)


def _encode_step(step: Step) -> dict[str, Any]:
    scores = {name: None if math.isnan(value) else value for name, value in asdict(step.scores).items()}
    return {**asdict(step), "scores": scores}


def _decode_step(values: Mapping[str, Any]) -> Step:
    scores: dict[str, Any] = {
        name: math.nan if (value := values["scores"][name]) is None else _number(value)
        for name in OverlapScores.__dataclass_fields__
    }
    seconds = values["seconds"]
    return Step(
        tumour=tuple(map(_voxel, values["tumour"])),
        background=tuple(map(_voxel, values["background"])),
        scores=OverlapScores(**scores),
        seconds=None if seconds is None else float(seconds),
        failure=str(values["failure"]),
    )


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _voxel(sides: Any) -> Voxel:
    x, y, z = sides
    return int(x), int(y), int(z)
