from __future__ import annotations

import json

from trial.checks import failures
from trial.containers import Outcome
from trial.table import Trial
from trial_examples import IMAGE, LIMITS, SEEN


class Told:
    """In place of an engine: every container ends in the same way."""

    def __init__(self, outcome):
        self.outcome = outcome

    def run(self, *_):
        return self.outcome

    def empty(self, *_):
        pass


def test_first_rows_are_of_the_image_and_its_limits():
    told = {"uid": 10001, "cuda": None, "architectures": [], "limits": {**SEEN, "network": ["lo", "eth0"]}}
    engine = Told(Outcome(0, [(0.5, json.dumps(told).encode())]))
    image, limits = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert (image.name, failures(image.checks)) == ("image", [])
    assert image.remark == "user 10001:10001; architecture linux/amd64; api-method exec"
    assert (limits.name, limits.remark) == ("limits", "16 GiB, 8 shared, 15 data; 300 s a case")
    assert [check.name for check in failures(limits.checks)] == ["limit: network"]
    engine = Told(Outcome(127, stderr=b"sh: python: not found\n"))
    (row,) = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert [(check.name, check.found) for check in failures(row.checks)] == [
        ("image has Python with torch", "sh: python: not found")
    ]
