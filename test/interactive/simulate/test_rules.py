from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from swfastedit_core.interactive.simulate.rules import STOP_RULES, StopSettings

STEPS = 10_000
ROUNDS = 4


def rounds_of(name, *, dice_loss=(1.0,) * (ROUNDS + 1), settings=None, steps=STEPS):
    """Count, for many training steps, how many had 0, 1, … rounds; `dice_loss` is the one before each round."""
    rng = np.random.default_rng(5)
    counts = Counter()
    for _ in range(steps):
        done = 0
        while not STOP_RULES[name](
            done, rng, rounds=ROUNDS, dice_loss=dice_loss[done], settings=settings or StopSettings()
        ):
            done += 1
        counts[done] += 1
    return [counts[number] for number in range(ROUNDS + 1)]


def assert_frequencies(counts, probabilities):
    assert chisquare(counts, STEPS * np.array(probabilities)).pvalue > 0.01


def test_there_are_five_rules():
    assert list(STOP_RULES) == ["rounds", "probability", "dice", "dice-probability", "deepgrow"]


@pytest.mark.parametrize("name", STOP_RULES)
def test_each_rule_stops_after_all_rounds(name):
    counts = rounds_of(name, settings=StopSettings(probability=1.0), steps=10)
    assert counts == [0, 0, 0, 0, 10]


@pytest.mark.parametrize("name", STOP_RULES)
def test_no_rule_has_a_round_if_none_is_allowed(name):
    rng = np.random.default_rng(0)
    assert STOP_RULES[name](0, rng, rounds=0, dice_loss=1.0, settings=StopSettings(probability=1.0))


def test_rounds_alone_ignores_a_good_prediction():
    assert rounds_of("rounds", dice_loss=[1.0, 0.0, 0.0, 0.0, 0.0], steps=10) == [0, 0, 0, 0, 10]


def test_probability_of_each_further_round():
    p = 0.7
    expected = [(1 - p) * p**k for k in range(ROUNDS)] + [p**ROUNDS]
    assert_frequencies(rounds_of("probability", settings=StopSettings(probability=p)), expected)


def test_half_of_the_steps_have_no_round_by_default():
    assert_frequencies(rounds_of("probability"), [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16])


def test_dice_ends_the_rounds_below_the_limit():
    assert rounds_of("dice", dice_loss=[1.0, 0.5, 0.1, 0.09, 0.0], steps=10) == [0, 0, 0, 10, 0]
    assert rounds_of("dice", dice_loss=[1.0, 0.5, 0.1, 0.09, 0.0], settings=StopSettings(dice_loss=0.6), steps=10) == [
        *(0, 10, 0, 0, 0)
    ]


def test_dice_probability_ends_with_the_dice():
    losses = [1.0, 0.8, 0.5, 0.25, 0.9]
    expected = [0, 0.2, 0.8 * 0.5, 0.8 * 0.5 * 0.75, 0.8 * 0.5 * 0.25]
    counts = rounds_of("dice-probability", dice_loss=losses)
    assert counts[0] == 0  # there is no prediction yet
    assert_frequencies(counts[1:], expected[1:])


def test_deepgrow_has_all_rounds_or_none():
    counts = rounds_of("deepgrow", settings=StopSettings(probability=0.3))
    assert counts[1:-1] == [0, 0, 0]
    assert_frequencies([counts[0], counts[-1]], [0.7, 0.3])
