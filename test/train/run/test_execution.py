"""How a run uses the machine."""

from __future__ import annotations

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.run import execution
from swfastedit_core.train.run.execution import Machine, MachineSettings, Schedule


@pytest.mark.parametrize(
    ("cores", "cuda", "local_ranks", "loaders"),
    [(1, True, 1, 1), (5, True, 1, 4), (32, True, 1, 8), (32, True, 8, 3), (32, False, 1, 1)],
)
def test_loaders_follow_from_cores_and_gpus(cores, cuda, local_ranks, loaders, monkeypatch):
    monkeypatch.setattr(execution, "available_cpus", lambda: cores)
    machine = MachineSettings(compiled=True).resolve(precision="float16", cuda=cuda, local_ranks=local_ranks)
    assert machine == Machine("float16", compiled=True, loaders=loaders, preparers=cores)


def test_numbers_that_are_given_hold():
    settings = MachineSettings(loaders=0, preparers=3)
    assert settings.resolve(precision="float32", cuda=True, local_ranks=1) == Machine("float32", False, 0, 3)


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (MachineSettings, {"loaders": -1}, "--loaders -1, expected 0 or more"),
        (MachineSettings, {"preparers": 0}, "--preparers 0, expected 1 or more"),
        (Schedule, {"kept_states": 0}, "--keep 0, expected 1 or more"),
        (Schedule, {"save_minutes": float("nan")}, "--save-every nan, expected 0 or more"),
        (Schedule, {"validation_overlap": 1.0}, "--validation-overlap 1, expected 0 or more and less than 1"),
    ],
)
def test_impossible_values_are_refused(settings, values, message):
    with pytest.raises(UserError, match=message):
        settings(**values)
