"""Wilcoxon's signed-rank test, and Holm's adjustment for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

EXACT_UP_TO = 50  # differences that are not 0, as in scipy; more: the normal approximation
ROUNDED_TO = 9  # decimals of the largest difference: 0.8 - 0.7 and 0.6 - 0.5 are a tie, floats say otherwise


@dataclass(frozen=True, kw_only=True)
class SignedRankTest:
    """Wilcoxon's signed-rank test, two-sided.

    Attributes
    ----------
    p_value
        None if no difference is left.
    differences
        Number of differences that are not 0; the others are discarded, as Wilcoxon did.
    method
        How the p value is computed.
    """

    p_value: float | None
    differences: int
    method: str


def wilcoxon(differences: np.ndarray) -> SignedRankTest:
    """Test by Wilcoxon's signed ranks whether differences are symmetric about 0.

    Parameters
    ----------
    differences
        One-dimensional, finite. Zeros are discarded. Sizes that differ by a billionth of the largest one are ties.

    Returns
    -------
    SignedRankTest
        Exact for up to 50 differences, otherwise by the normal approximation with its correction for ties.
    """
    if np.any(differences):
        differences = np.round(differences / np.abs(differences).max(), ROUNDED_TO)
    kept: Any = differences[differences != 0]
    if len(kept) == 0:
        return SignedRankTest(p_value=None, differences=0, method="none: no case differs")
    if len(kept) > EXACT_UP_TO:
        method = "normal approximation"
        p_value = stats.wilcoxon(kept, method="asymptotic").pvalue  # type: ignore[call-overload] # not in the stubs
    elif len(np.unique(np.abs(kept))) == len(kept):
        method, p_value = "exact", stats.wilcoxon(kept, method="exact").pvalue
    else:
        method, p_value = "exact with ties", _exact_p_with_ties(kept)
    return SignedRankTest(p_value=float(p_value), differences=len(kept), method=method)


def _exact_p_with_ties(differences: np.ndarray) -> float:
    """Return the two-sided p value over all changes of signs.

    scipy has this as ``PermutationMethod``, for up to 13 differences and in seconds. Here the sums of ranks are
    counted, one rank after the other.
    """
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # twice the mean ranks are whole numbers
    share = np.ones(1)  # of the changes of signs with this sum of the positive ranks
    for rank in ranks:
        share = (np.append(share, np.zeros(rank)) + np.append(np.zeros(rank), share)) / 2
    positive = int(ranks[differences > 0].sum())
    return min(1.0, 2.0 * float(min(share[: positive + 1].sum(), share[positive:].sum())))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's step-down method (Scand J Statist 1979; 6:65).

    None stays None and does not count as a test.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for done, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p))
        adjusted[index] = highest
    return adjusted
