"""What a resumed run must have in common with the run before."""

from __future__ import annotations

from pathlib import Path

import pytest

from swfastedit_core import UserError
from swfastedit_core.train.run.resume import require_same_settings

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
