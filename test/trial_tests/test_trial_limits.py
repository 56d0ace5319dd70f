from __future__ import annotations

import pytest
from trial.checks import failures
from trial.limits import GIB, check_limits
from trial_examples import FOUND_LIMITS, LIMITS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("/input", "755, read only, empty"),
        ("/output", "777, writable, images"),
        ("/tmp", "777, writable, cache"),
        ("/opt/ml", "no folder"),
        ("network", ["lo", "eth0"]),
        ("capabilities", [0, 0xA80425FB]),
        ("no new privileges", 0),
        ("memory", "max"),
        ("memory and swap", 32 * GIB),
        ("shared memory", 64 * 2**20),
        ("data segment", -1),
        ("processes", 4096),
        ("LOG_LEVEL", None),
    ],
)
def test_limit_that_does_not_hold_in_the_container_fails(name, value):
    assert failures(check_limits(FOUND_LIMITS, LIMITS)) == []
    (check,) = failures(check_limits({**FOUND_LIMITS, name: value}, LIMITS))
    assert (check.name, check.found) == (f"limit: {name}", f"{value}, expected {FOUND_LIMITS[name]}")
    (check,) = failures(check_limits({key: kept for key, kept in FOUND_LIMITS.items() if key != name}, LIMITS))
    assert check.name == f"limit: {name}"
