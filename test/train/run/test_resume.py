"""Resuming: there must be a state, and settings must be the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import NARROW

from swfastedit_core import UserError
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.model import NetworkConfig
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.run.resume import ADDED_SETTINGS, require_same_settings, require_state
from swfastedit_core.train.run.settings import RunSettings

FOLDER = Path("runs/fold0")
SETTINGS = {"--ema": "0.0", "--crop": "(32, 32, 32)", "content of the training cases": ["a", "b"]}


def refusal(before, now):
    with pytest.raises(UserError) as error:
        require_same_settings({"settings": before}, now, FOLDER)
    return str(error.value)


def test_same_settings_pass():
    require_same_settings({"settings": {**SETTINGS, "of an older version": "1"}}, SETTINGS, FOLDER)


def test_changed_setting_is_refused_by_its_flag_with_both_values():
    assert refusal(SETTINGS, {**SETTINGS, "--ema": "0.9"}) == (
        "runs/fold0: cannot be resumed: --ema was 0.0 and is 0.9 now; undo the change, or choose another --output"
    )


def test_changed_data_are_refused_with_their_number():
    assert "content of the training cases changed: 2 before, 3 now, 2 of them new;" in refusal(
        SETTINGS, {**SETTINGS, "content of the training cases": ["a", "c", "d"]}
    )


def test_state_of_another_version_is_refused_as_such():
    assert refusal({"learning.ema": "0.0"}, SETTINGS) == (
        "runs/fold0: cannot be resumed: its state was saved by another version of this program and does not hold "
        "'--ema'; resume with that version, or choose another --output"
    )


def test_state_of_an_earlier_version_is_resumed_with_the_same_meaning():
    """Whole crops were the default, Adam and the cosine the only choice."""
    earlier = {"--ema": "0.0", "--train-in-windows": "None"}
    named = {"--optimizer": "'adam'", "--schedule": "'cosine'", "--limit": "None"}
    same = {"--ema": "0.0", "--train-in-windows": "0.25", "--whole-crops": "True", **named}
    require_same_settings({"settings": earlier}, same, FOLDER)
    assert "--whole-crops was True and is False now" in refusal(earlier, {**same, "--whole-crops": "False"})
    assert "--optimizer was 'adam' and is 'novograd' now" in refusal(earlier, {**same, "--optimizer": "'novograd'"})
    in_windows = {**earlier, "--train-in-windows": "0.5"}
    assert "--whole-crops was False and is True now" in refusal(in_windows, {**same, "--train-in-windows": "0.5"})


def test_settings_that_later_versions_added_are_settings_with_their_defaults():
    settings = RunSettings(CheckpointConfig(NetworkConfig()), DataSettings(("phantom:1",)), CropSettings()).by_name()
    assert {name: settings[name] for name in ADDED_SETTINGS} == ADDED_SETTINGS


def write_states(top, *names):
    """Write folders of runs that can be resumed."""
    for name in names:
        (top / name / "states").mkdir(parents=True)
        (top / name / "states" / "00000005.state").touch()


def no_state(folder):
    with pytest.raises(UserError) as error:
        require_state(folder)
    return str(error.value)


START = "--resume-or-start instead of --resume starts the run"


def test_run_with_a_state_can_be_resumed(tmp_path):
    write_states(tmp_path, "fold0")
    require_state(tmp_path / "fold0")


def test_misspelled_run_is_not_resumed_and_similar_runs_are_named(tmp_path):
    write_states(tmp_path / "runs", "fold0", "fold12", "phantoms")
    runs = tmp_path / "runs"
    (runs / "fold").mkdir()
    none = f"no such folder, so there is no run to resume; did you mean {runs / 'fold0'}"
    assert no_state(runs / "fodl0") == f"{runs / 'fodl0'}: {none} or {runs / 'fold12'}? {START}"
    assert no_state(tmp_path / "run" / "fold0") == (
        f"{tmp_path / 'run' / 'fold0'}: {none} or {runs / 'fold12'}? {START}"
    )
    assert no_state(runs / "fold") == (
        f"{runs / 'fold'}: holds no state to resume; did you mean {runs / 'fold0'} or {runs / 'fold12'}? {START}"
    )
    assert no_state(runs / "tumours") == f"{runs / 'tumours'}: no such folder, so there is no run to resume; {START}"
    assert no_state(runs).startswith(f"{runs}: holds no state to resume; did you mean {runs / 'fold0'} or ")


def test_names_are_those_that_the_user_can_type(tmp_path, monkeypatch):
    write_states(tmp_path, "runs/fold0")
    monkeypatch.chdir(tmp_path)
    assert "did you mean runs/fold0?" in no_state(Path("runs/fold1"))
    assert "did you mean runs/fold0?" in no_state(Path("rums/fold0"))
    assert "did you mean runs/fold0?" in no_state(Path("runs"))


def test_nothing_is_written_where_nothing_can_be_resumed(tmp_path, capfd):
    run = tmp_path / "run"
    start = ["--output", str(run), *NARROW, "--data", "phantom:1", "--steps", "1"]
    assert command.main([*start, "--resume"]) == 1
    assert capfd.readouterr().err == f"{run}: no such folder, so there is no run to resume; {START}\n"
    assert not run.exists()
