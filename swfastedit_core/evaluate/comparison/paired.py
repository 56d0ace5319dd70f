"""Statistics of two sets of scores of the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from swfastedit_core.evaluate.comparison.signed_ranks import SignedRankTest, holm, wilcoxon
from swfastedit_core.evaluate.summary import Interval, bootstrap_interval
from swfastedit_core.metrics.scores import Scores

HIGHER, LOWER = "higher", "lower"
ABSOLUTE_VOLUME_ERROR = "absolute_volume_error_ml"
BETTER = {
    "dice": HIGHER,
    "fpv_ml": LOWER,
    "fnv_ml": LOWER,
    "precision": HIGHER,
    "recall": HIGHER,
    "f1": HIGHER,
    "surface_dice": HIGHER,
    "hd95_mm": LOWER,
    ABSOLUTE_VOLUME_ERROR: LOWER,
}  # metrics that are compared, and which values are better
LISTED = 10  # cases that differ most


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference B − A and its 95 % BCa bootstrap interval over the cases; None where they are not defined."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of A and B on the same cases; differences are B − A.

    Attributes
    ----------
    metric
        Its column in the table of scores; ``absolute_volume_error_ml`` is the size of the volume error.
    better
        "higher" or "lower" values are better.
    pairs, left_out
        Number of cases in which both sides are defined, and of the others.
    mean_a, mean_b, median_difference
        Over the pairs; None without pairs.
    mean_difference
        Mean of the differences and its interval.
    b_better, equal, a_better
        Number of cases.
    test
        Of the differences.
    p_holm
        The test's p value, adjusted by Holm's method for all metrics that are compared.
    """

    metric: str
    better: str
    pairs: int
    left_out: int
    mean_a: float | None
    mean_b: float | None
    median_difference: float | None
    mean_difference: Difference
    b_better: int
    equal: int
    a_better: int
    test: SignedRankTest
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class PooledF1:
    """F1 of lesions with the counts of all cases added up, and the difference B − A.

    Attributes
    ----------
    f1_a, f1_b
        None if neither labels nor predictions have a lesion.
    difference
        Its interval is by a bootstrap over cases.
    """

    f1_a: float | None
    f1_b: float | None
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A case in which the Dice of A and B differs."""

    case: str
    label_ml: float
    prediction_ml_a: float
    prediction_ml_b: float
    dice_a: float
    dice_b: float

    @property
    def difference(self) -> float:
        """B − A."""
        return self.dice_b - self.dice_a


Side = Mapping[str, Scores]  # by case


def compare_metrics(a: Side, b: Side) -> list[Comparison]:
    """Compare every metric of `BETTER` over the cases, which are the same on both sides.

    The p values are adjusted for the number of metrics by Holm's method.
    """
    columns = {name: (column(a, name), column(b, name)) for name in BETTER}
    tests = {name: wilcoxon(_defined(*values)[1] - _defined(*values)[0]) for name, values in columns.items()}
    adjusted = holm([test.p_value for test in tests.values()])
    return [
        _compare(name, *columns[name], test=tests[name], p_holm=p_holm)
        for name, p_holm in zip(columns, adjusted, strict=True)
    ]


def column(side: Side, metric: str) -> np.ndarray:
    """Return a metric of all cases, in alphabetical order of their names, float64."""
    return np.array([value_of(side[case], metric) for case in sorted(side)], np.float64)


def value_of(scores: Scores, metric: str) -> float:
    """Return a metric: one of `BETTER`, or another field of the scores."""
    if metric == ABSOLUTE_VOLUME_ERROR:
        return abs(scores.volume_error_ml)
    return float(getattr(scores, metric))


def mean_difference(differences: np.ndarray) -> Difference:
    """Return the mean of differences with its interval.

    Parameters
    ----------
    differences
        One-dimensional, finite. Empty: there is no mean. Fewer than two, or all the same: there is no interval.
    """
    if len(differences) == 0:
        return Difference(value=None)
    interval = bootstrap_interval((differences,), np.mean) if np.ptp(differences) > 0 else None
    return Difference(value=float(np.mean(differences)), interval=interval)


def pooled_f1(a: Side, b: Side) -> PooledF1:
    """Compare the F1 of lesions, pooled over cases, with a bootstrap over cases.

    A resample in which a side has no lesion at all, neither in labels nor in predictions, counts as F1 = 1.
    """
    names = ("true_positives", "false_positives", "false_negatives")
    counts = [column(side, name) for side in (a, b) for name in names]
    f1_a, f1_b = (_defined_f1(*(float(one.sum()) for one in side)) for side in (counts[:3], counts[3:]))
    if f1_a is None or f1_b is None:
        return PooledF1(f1_a=f1_a, f1_b=f1_b, difference=Difference(value=None))

    def difference(*samples: np.ndarray, axis: int) -> np.ndarray:
        sums = [sample.sum(axis=axis) for sample in samples]
        gain: np.ndarray = _f1(*sums[3:]) - _f1(*sums[:3])
        return gain

    differ = any(np.any(one != other) for one, other in zip(counts[:3], counts[3:], strict=True))
    interval = bootstrap_interval(counts, difference) if differ else None
    return PooledF1(f1_a=f1_a, f1_b=f1_b, difference=Difference(value=f1_b - f1_a, interval=interval))


def list_differing(a: Side, b: Side) -> list[Differing]:
    """List the ten cases whose Dice differs most, the largest difference first; cases without difference never."""
    cases = [
        Differing(
            case=case,
            label_ml=a[case].label_ml,
            prediction_ml_a=a[case].prediction_ml,
            prediction_ml_b=b[case].prediction_ml,
            dice_a=a[case].dice,
            dice_b=b[case].dice,
        )
        for case in sorted(a)
    ]
    differing = [one for one in cases if math.isfinite(one.difference) and one.difference != 0]
    return sorted(differing, key=lambda one: (-abs(one.difference), one.case))[:LISTED]


def _compare(name: str, a: np.ndarray, b: np.ndarray, *, test: SignedRankTest, p_holm: float | None) -> Comparison:
    total = len(a)
    a, b = _defined(a, b)
    differences = b - a
    gains = differences if BETTER[name] == HIGHER else -differences
    return Comparison(
        metric=name,
        better=BETTER[name],
        pairs=len(a),
        left_out=total - len(a),
        mean_a=float(np.mean(a)) if len(a) else None,
        mean_b=float(np.mean(b)) if len(b) else None,
        median_difference=float(np.median(differences)) if len(a) else None,
        mean_difference=mean_difference(differences),
        b_better=int(np.count_nonzero(gains > 0)),
        equal=int(np.count_nonzero(gains == 0)),
        a_better=int(np.count_nonzero(gains < 0)),
        test=test,
        p_holm=p_holm,
    )


def _defined(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs in which both values are finite."""
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def _defined_f1(true_positives: float, false_positives: float, false_negatives: float) -> float | None:
    divisor = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / divisor if divisor else None


def _f1(true_positives: np.ndarray, false_positives: np.ndarray, false_negatives: np.ndarray) -> np.ndarray:
    divisor = 2 * true_positives + false_positives + false_negatives
    f1: np.ndarray = np.where(divisor > 0, 2 * true_positives / np.maximum(divisor, 1), 1.0)
    return f1
