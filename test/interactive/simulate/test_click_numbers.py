from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.click_numbers import click_number_probabilities, sample_click_number


def test_probabilities_fall_with_the_logarithm():
    # ln 12! = 19.9872; ln 12 = 2.4849, ln 2 = 0.6931
    probabilities = click_number_probabilities()
    assert len(probabilities) == 11
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[[0, 10]] == pytest.approx([0.12433, 0.03468], abs=1e-5)
    assert click_number_probabilities(1) == pytest.approx([0.61315, 0.38685], abs=1e-5)  # ln 3, ln 2


@pytest.mark.parametrize("draws", [2000, pytest.param(10_000, marks=pytest.mark.long)])
def test_numbers_are_drawn_with_these_probabilities(draws):
    rng = np.random.default_rng(0)
    counts = np.bincount([sample_click_number(rng) for _ in range(draws)], minlength=11)
    expected = np.log(12 - np.arange(11)) / np.log(np.arange(2, 13)).sum()
    assert chisquare(counts, draws * expected).pvalue > 0.01


def test_at_most_none_is_always_none():
    assert {sample_click_number(np.random.default_rng(seed), most=0) for seed in range(20)} == {0}
