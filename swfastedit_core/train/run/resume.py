"""Resuming a run: its newest valid state, and the settings that must be the same."""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from swfastedit_core.errors import UserError
from swfastedit_core.train.run.fine_tuning import BEST, LAST
from swfastedit_core.train.run.recorder import STATES
from swfastedit_core.train.run.settings import LearningSettings
from swfastedit_core.train.run.states import STATE_SUFFIX, DamagedStateError, list_states, read_newest_state, read_state
from swfastedit_core.train.store.training_data import Say

MAX_NAMES = 3  # runs that a message names
MIN_SIMILARITY = 0.5  # of their names, from 0 to 1
WINDOWS, WHOLE_CROPS = "--train-in-windows", "--whole-crops"
ADDED_SETTINGS = {  # those that states of earlier versions do not hold, with the only value that there was
    WHOLE_CROPS: "False",
    "--optimizer": "'adam'",
    "--schedule": "'cosine'",
    "--loss": "'dice-ce'",
    "--exclude-background": "False",
    "--validate-on": "None",
    "--limit": "None",
    "clicks": "None",
    "--interactive": "False",
    "--click-encoding": "'graded-ball'",
    "--without-clicks": "0.2",
    "--max-clicks": "10",
    "--error-clicks": "0.5",
    "--click-draw": "'uniform'",
    "--rounds": "0",
    "--stop": "'rounds'",
    "--strategy": "'corrective'",
    "--probability": "0.5",
    "--dice-threshold": "0.1",
    "max_offset": "3",
    "noisy": "0.2",
}


def require_state(folder: Path) -> None:
    """Refuse to resume a run that has no state, and name the runs that could be meant.

    Raises
    ------
    UserError
        If the folder holds no state.
    """
    if list_states(folder / STATES):
        return
    found = "holds no state to resume" if folder.is_dir() else "no such folder, so there is no run to resume"
    names = [str(run) for run in _similar_runs(folder)]
    meant = f"did you mean {' or '.join(names)}? " if names else ""
    raise UserError(f"{folder}: {found}; {meant}--resume-or-start instead of --resume starts the run")


def _similar_runs(folder: Path) -> list[Path]:
    """Return runs with a state, the most similar name first: runs in the folder, or else beside it.

    Without the folder above it, runs of all folders beside that one are compared.
    """
    inside = _runs(folder, "*")
    if inside:
        return inside[:MAX_NAMES]
    top, pattern = (folder.parent, "*") if folder.parent.is_dir() else (folder.parent.parent, "*/*")
    runs = {str(run.relative_to(top)): run for run in _runs(top, pattern)}
    wanted = str(folder.relative_to(top))
    return [runs[name] for name in difflib.get_close_matches(wanted, runs, MAX_NAMES, MIN_SIMILARITY)]


def _runs(top: Path, pattern: str) -> list[Path]:
    """Return the folders of runs that match a pattern and hold a state."""
    with suppress(OSError):
        return sorted({path.parents[1] for path in top.glob(f"{pattern}/{STATES}/[0-9]*{STATE_SUFFIX}")})
    return []


def read_state_to_resume(folder: Path, fabric: Fabric, *, resume: bool, say: Say) -> dict[str, Any] | None:
    """Read the newest valid state of a run; all processes read the file that the first process chooses.

    Parameters
    ----------
    folder
        Folder of the run.
    fabric
        The processes of the run.
    resume
        Whether to resume the run if it has a state.
    say
        Takes lines for the user.

    Returns
    -------
    dict or None
        The state; None if there is none, and the run starts at step 0.

    Raises
    ------
    UserError
        If the folder holds a run that should not be resumed, or this process cannot read the state.
    """
    newest = read_newest_state(folder / STATES, warn=say) if fabric.is_global_zero else None
    path = fabric.broadcast(None if newest is None else newest[0])
    if not resume and path is not None:
        raise UserError(f"{folder}: already holds a run; continue it with --resume, or choose another --output")
    if not resume and any((folder / name).exists() for name in (BEST, LAST)):
        raise UserError(
            f"{folder}: holds weights of a run, but no state to resume; choose another --output, or start again with "
            "--resume-or-start, which renames the weights"
        )
    if path is None:
        if resume:
            say(f"{folder}: holds no state to resume, the run starts at step 0")
        return None
    if newest is not None:
        return newest[1]
    try:
        return read_state(path)
    except DamagedStateError as error:
        raise UserError(f"{path}: {error}, although the first process could read it") from error


def with_later_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Add the settings that a state of an earlier version does not hold, with what that version did.

    Parameters
    ----------
    settings
        The ``settings`` of a state, by name.
    """
    completed = {**ADDED_SETTINGS, **settings}
    if completed.get(WINDOWS) == "None":  # whole crops were the default, and had no name of their own
        completed |= {WHOLE_CROPS: "True", WINDOWS: repr(LearningSettings.window_overlap)}
    return completed


def require_same_settings(state: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    """Refuse to resume a run with other settings or other data.

    Parameters
    ----------
    state
        The state to resume, with the ``settings`` of the run that saved it.
    settings
        Settings of this run by name; lists hold digests or names of cases.
    folder
        Folder of the run.

    Raises
    ------
    UserError
        If a setting differs, or the state does not hold it.
    """
    before = with_later_settings(state["settings"])
    for name, now in settings.items():
        if name not in before:
            raise UserError(
                f"{folder}: cannot be resumed: its state was saved by another version of this program and does not "
                f"hold '{name}'; resume with that version, or choose another --output"
            )
        if before[name] != now:
            raise UserError(
                f"{folder}: cannot be resumed: {_describe_change(name, before[name], now)}; undo the change, or choose "
                "another --output"
            )


def _describe_change(name: str, before: object, now: object) -> str:
    if not isinstance(before, list) or not isinstance(now, list):
        return f"{name} was {before} and is {now} now"
    return f"{name} changed: {len(before)} before, {len(now)} now, {len(set(now) - set(before))} of them new"
