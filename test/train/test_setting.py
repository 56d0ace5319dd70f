"""Settings: their checks, and the texts of their values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.setting import (
    ABOVE_0,
    FINITE_ABOVE_0,
    FINITE_AT_LEAST_0,
    RANGE_ABOVE_0,
    SHARE,
    SHARE_BELOW_ONE,
    Check,
    at_least,
    require_valid,
    setting,
    text_of,
)


@pytest.mark.parametrize(
    ("check", "allowed", "refused"),
    [
        (SHARE, [0.0, 0.5, 1.0, (0.0, 1.0)], [-0.1, 1.1, math.nan, (0.5, 1.1)]),
        (SHARE_BELOW_ONE, [0.0, 0.99], [-0.1, 1.0, math.nan]),
        (FINITE_AT_LEAST_0, [0.0, 2.0, (0.0, 3.0)], [-1.0, math.inf, math.nan, (1.0, -1.0)]),
        (FINITE_ABOVE_0, [0.1], [0.0, math.inf, math.nan]),
        (ABOVE_0, [0.1, math.inf], [0.0, math.nan]),
        (RANGE_ABOVE_0, [(1.0, 1.0), (0.5, 2.0)], [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)]),
        (at_least(1), [1, 2, (1, 5), math.inf], [0, math.nan, (0, 5)]),
    ],
)
def test_checks_allow_and_refuse(check: Check, allowed, refused):
    assert all(check.allows(value) for value in allowed)
    assert not any(check.allows(value) for value in refused)


@dataclass(frozen=True)
class Example:
    named: float = setting(0.5, "--the-flag", "a share", check=SHARE)
    unnamed: tuple[float, float] = setting((1.0, 2.0), check=RANGE_ABOVE_0)
    optional: int | None = setting(None, "--optional", "a number", check=at_least(1))

    def __post_init__(self) -> None:
        require_valid(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"named": 2.0}, "--the-flag 2, expected a number from 0 to 1"),
        ({"unnamed": (2.0, 0.5)}, "unnamed 2 0.5, expected a number above 0 and a second one that is not smaller"),
        ({"optional": 0}, "--optional 0, expected 1 or more"),
    ],
)
def test_value_that_is_not_allowed_is_refused_by_its_flag_or_else_its_field(values, message):
    with pytest.raises(UserError) as refusal:
        Example(**values)
    assert str(refusal.value) == message


def test_defaults_hold_and_an_option_that_is_not_given_passes():
    assert Example() == Example(0.5, (1.0, 2.0), None)


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.0, "4"), (0.25, "0.25"), (math.inf, "inf"), ((1.0, 2.5), "1 2.5"), ("auto", "auto"), (7, "7")],
)
def test_values_are_written_as_on_a_command_line(value, text):
    assert text_of(value) == text
