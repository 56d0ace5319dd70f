"""Statistics of two sets of scores of the same cases."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from swfastedit_core.metrics.scores import Scores

CONFIDENCE, RESAMPLES, SEED = 0.95, 9999, 0  # of the bootstrap
RESAMPLES_AT_A_TIME = 500  # bounds the memory
EXACT_UP_TO = 50  # differences that are not 0, as in scipy; more: the normal approximation
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
class Interval:
    """A difference with its BCa bootstrap interval; the bounds are NaN where there is no interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SignedRankTest:
    """Wilcoxon's signed-rank test, two-sided.

    Attributes
    ----------
    p_value
        NaN if no difference is left.
    differences
        Number of differences that are not 0; the others are discarded, as Wilcoxon did.
    method
        How the p value is computed.
    """

    p_value: float
    differences: int
    method: str


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
        Over the pairs; NaN without pairs.
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
    mean_a: float
    mean_b: float
    median_difference: float
    mean_difference: Interval
    b_better: int
    equal: int
    a_better: int
    test: SignedRankTest
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class PooledF1:
    """F1 of lesions with the counts of all cases added up, and the difference B − A.

    Attributes
    ----------
    f1_a, f1_b
        NaN if neither labels nor predictions have a lesion.
    difference
        Its interval is by a bootstrap over cases.
    """

    f1_a: float
    f1_b: float
    difference: Interval


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
    if metric == ABSOLUTE_VOLUME_ERROR:
        return np.absolute(column(side, "volume_error_ml"), dtype=np.float64)
    return np.array([getattr(side[case], metric) for case in sorted(side)], np.float64)


def mean_interval(differences: np.ndarray) -> Interval:
    """Return the mean of differences with its 95 % BCa bootstrap interval.

    Parameters
    ----------
    differences
        One-dimensional, finite. Empty: the mean is NaN. Fewer than two, or all the same: there is no interval.
    """
    if len(differences) == 0:
        return Interval(difference=math.nan, low=math.nan, high=math.nan)
    low, high = math.nan, math.nan
    if np.ptp(differences) > 0:
        low, high = _bootstrap((differences,), np.mean, paired=False)
    return Interval(difference=float(np.mean(differences)), low=low, high=high)


def wilcoxon(differences: np.ndarray) -> SignedRankTest:
    """Test by Wilcoxon's signed ranks whether differences are symmetric about 0.

    Parameters
    ----------
    differences
        One-dimensional, finite. Zeros are discarded.

    Returns
    -------
    SignedRankTest
        Exact for up to 50 differences, otherwise by the normal approximation with its correction for ties.
    """
    kept = differences[differences != 0]
    if len(kept) == 0:
        return SignedRankTest(p_value=math.nan, differences=0, method="none: no case differs")
    if len(kept) > EXACT_UP_TO:
        method, p_value = "normal approximation", stats.wilcoxon(kept, correction=False, method="asymptotic").pvalue
    elif len(np.unique(np.abs(kept))) == len(kept):
        method, p_value = "exact", stats.wilcoxon(kept, method="exact").pvalue
    else:
        method, p_value = "exact with ties", _exact_p_with_ties(kept)
    return SignedRankTest(p_value=float(p_value), differences=len(kept), method=method)


def _exact_p_with_ties(differences: np.ndarray) -> float:
    """Return the two-sided p value over all changes of signs.

    scipy has this as ``PermutationMethod``, up to 13 differences and in seconds; here the sums are counted rank by rank.
    """
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # twice the mean ranks are whole numbers
    share = np.ones(1)  # of the changes of signs with this sum of the positive ranks
    for rank in ranks:
        share = (np.append(share, np.zeros(rank)) + np.append(np.zeros(rank), share)) / 2
    positive = int(ranks[differences > 0].sum())
    return min(1.0, 2.0 * float(min(share[: positive + 1].sum(), share[positive:].sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number by Holm's step-down method (Scand J Statist 1979; 6:65).

    NaN stays NaN and is not counted as a test.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for done, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p))
        adjusted[index] = highest
    return adjusted


def pooled_f1(a: Side, b: Side) -> PooledF1:
    """Compare the F1 of lesions, pooled over cases, with a bootstrap over cases.

    A resample in which a side has no lesion at all, neither in labels nor in predictions, counts as F1 = 1.
    """
    names = ("true_positives", "false_positives", "false_negatives")
    counts = [column(side, name) for side in (a, b) for name in names]
    f1_a, f1_b = (float(_f1(*(one.sum() for one in side), empty=math.nan)) for side in (counts[:3], counts[3:]))

    def difference(*samples: np.ndarray, axis: int) -> Any:
        sums = [sample.sum(axis=axis) for sample in samples]
        return _f1(*sums[3:], empty=1.0) - _f1(*sums[:3], empty=1.0)

    low, high = math.nan, math.nan
    differ = any(np.any(one != other) for one, other in zip(counts[:3], counts[3:], strict=True))
    if len(counts[0]) > 1 and differ and not math.isnan(f1_b - f1_a):
        low, high = _bootstrap(tuple(counts), difference, paired=True)
    return PooledF1(f1_a=f1_a, f1_b=f1_b, difference=Interval(difference=f1_b - f1_a, low=low, high=high))


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


def _compare(name: str, a: np.ndarray, b: np.ndarray, *, test: SignedRankTest, p_holm: float) -> Comparison:
    total = len(a)
    a, b = _defined(a, b)
    differences = b - a
    gains = differences if BETTER[name] == HIGHER else -differences
    return Comparison(
        metric=name,
        better=BETTER[name],
        pairs=len(a),
        left_out=total - len(a),
        mean_a=float(np.mean(a)) if len(a) else math.nan,
        mean_b=float(np.mean(b)) if len(b) else math.nan,
        median_difference=float(np.median(differences)) if len(a) else math.nan,
        mean_difference=mean_interval(differences),
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


def _f1(true_positives: Any, false_positives: Any, false_negatives: Any, *, empty: float) -> np.ndarray:
    divisor = np.asarray(2 * true_positives + false_positives + false_negatives)
    return np.where(divisor > 0, 2 * true_positives / np.maximum(divisor, 1), empty)


def _bootstrap(samples: tuple[np.ndarray, ...], statistic: Any, *, paired: bool) -> tuple[float, float]:
    """Return the BCa interval; NaN where the resamples do not define one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            batch=RESAMPLES_AT_A_TIME,
            vectorized=True,
            paired=paired,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    return float(found.low), float(found.high)
