"""Averages and intervals over the cases of a cohort."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from swfastedit_core.evaluate.cohort import CaseResult
from swfastedit_core.metrics.overlap_scores import OverlapScores
from swfastedit_core.metrics.scores import Scores

RESAMPLES, CONFIDENCE, SEED = 9_999, 0.95, 0
VALUES_AT_ONCE = 10_000_000  # of the bootstrap's resamples, which limits its memory
AVERAGED = (
    "dice",
    "fpv_ml",
    "fnv_ml",
    "precision",
    "recall",
    "f1",
    "surface_dice",
    "hd95_mm",
    "label_ml",
    "prediction_ml",
    "volume_error_ml",
)

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The distribution of a metric over the cases that define it.

    Attributes
    ----------
    n
        Number of these cases.
    mean, median, q1, q3, low, high
        Mean, quartiles, least and largest value; None if `n` is 0.
    interval
        95 % interval of the mean; None where the bootstrap gives none.
    """

    n: int
    mean: float | None = None
    interval: Interval | None = None
    median: float | None = None
    q1: float | None = None
    q3: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate of the pooled lesions: its value, None where the divisor is 0, and its 95 % interval over the cases."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """The lesions of all cases together, false positives of empty labels included."""

    true_positives: int
    false_positives: int
    false_negatives: int
    precision: Rate
    recall: Rate
    f1: Rate


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A cohort.

    Attributes
    ----------
    cases, failed
        Number of cases, and of those that have no scores.
    empty_labels, empty_predictions, both_empty
        Number of scored cases without a lesion in the label, in the prediction, in both.
    metrics
        By the names of `AVERAGED`.
    lesions
        Pooled.
    """

    cases: int
    failed: int
    empty_labels: int
    empty_predictions: int
    both_empty: int
    metrics: dict[str, Statistics]
    lesions: Lesions


def summarise(results: Sequence[CaseResult]) -> Summary:
    """Average the scores of cases; a case without a score, or without a defined one, does not count for it."""
    scores = [result.scores for result in results if result.scores is not None]
    return Summary(
        cases=len(results),
        failed=len(results) - len(scores),
        empty_labels=sum(one.label_ml == 0 for one in scores),
        empty_predictions=sum(one.prediction_ml == 0 for one in scores),
        both_empty=sum(one.label_ml == one.prediction_ml == 0 for one in scores),
        metrics={name: statistics([getattr(one, name) for one in scores]) for name in AVERAGED},
        lesions=pool_lesions(scores),
    )


def statistics(values: Sequence[float]) -> Statistics:
    """Describe values; those that are not finite do not count."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if not array.size:
        return Statistics(n=0)
    low, q1, median, q3, high = (float(value) for value in np.percentile(array, (0, 25, 50, 75, 100)))
    return Statistics(
        n=array.size,
        mean=float(array.mean()),
        interval=bootstrap_interval((array,), np.mean),
        median=median,
        q1=q1,
        q3=q3,
        low=low,
        high=high,
    )


def bootstrap_interval(samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray]) -> Interval | None:
    """Return the 95 % interval of a statistic by the BCa bootstrap of scipy, with a fixed seed.

    Parameters
    ----------
    samples
        Arrays with a value for each case; the same cases are sampled from all of them.
    statistic
        Takes the samples and `axis`.

    Returns
    -------
    tuple of float, or None
        None with fewer than two cases, and where BCa is not defined: all values are equal, or a resample has no value.
    """
    cases = len(samples[0])
    if cases < 2:
        return None
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = stats.bootstrap(
            samples,
            statistic,
            paired=len(samples) > 1,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            batch=max(1, VALUES_AT_ONCE // cases),
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    defined = math.isfinite(low) and math.isfinite(high) and not math.isclose(low, high)  # equal up to rounding
    return (float(low), float(high)) if defined else None


def pool_lesions(scores: Sequence[Scores | OverlapScores]) -> Lesions:
    """Count the lesions of all cases together, as autoPET V does, and return the rates of these counts."""
    found, false, missed = (
        np.array([getattr(one, name) for one in scores], np.float64)
        for name in ("true_positives", "false_positives", "false_negatives")
    )

    def rate(of_false: float, of_missed: float) -> Rate:
        def pooled(found: np.ndarray, false: np.ndarray, missed: np.ndarray, axis: int | None = None) -> np.ndarray:
            hits = found.sum(axis=axis)
            ratio: np.ndarray = hits / (hits + of_false * false.sum(axis=axis) + of_missed * missed.sum(axis=axis))
            return ratio

        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(pooled(found, false, missed))
        interval = bootstrap_interval((found, false, missed), pooled)
        return Rate(value=value if math.isfinite(value) else None, interval=interval)

    return Lesions(
        true_positives=int(found.sum()),
        false_positives=int(false.sum()),
        false_negatives=int(missed.sum()),
        precision=rate(1, 0),
        recall=rate(0, 1),
        f1=rate(0.5, 0.5),
    )
