"""Export of weights for `process.py`: one file for each run; the folds of a cross-validation are an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from swfastedit_core.checkpoint import Checkpoint, find_checkpoints, read_checkpoint, read_config, write_checkpoint
from swfastedit_core.checkpoint.folders import FoundCheckpoints
from swfastedit_core.checkpoint.kinds import OWN_SUFFIX
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import require_writable
from swfastedit_core.train.run.fine_tuning import BEST, LAST


def export_runs(
    runs: Sequence[Path], folder: Path, *, which: str, half: bool, overwrite: bool, say: Callable[[str], None]
) -> list[Path]:
    """Write the weights of runs into a folder; each file has the name of its run.

    Parameters
    ----------
    runs
        Folders of runs.
    folder
        Folder for the weights, such as ``weights/``. Weights of runs with the same name are replaced.
    which
        ``best``: weights of the best validation, or the last weights if no validation has finished;
        ``last``: weights of the last saved state.
    half
        Store float16: half the size.
    overwrite
        Replace any file of the same name, not only weights of runs.
    say
        Takes a line for each file: which weights it holds and why, and what it replaces. Then takes lines about the
        folder: which of its files `process.py` uses, or why it refuses the folder.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    UserError
        If a folder holds no weights of a run, two runs have the same name, or a file cannot be written or must not be
        replaced. This is checked before the first file is written.
    """
    names = [run.resolve().name for run in runs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise UserError(f"two runs are called {repeated} and would become one file; rename one of the folders")
    targets = [folder / f"{name}.safetensors" for name in names]
    checkpoints = [_read_weights(run, which) for run in runs]
    remarks = [_describe_replaced(target, overwrite=overwrite) for target in targets]
    for checkpoint, target, remark in zip(checkpoints, targets, remarks, strict=True):
        write_checkpoint(replace(checkpoint, path=target), target, half=half)
        say(f"{target}: {_describe_weights(checkpoint, which)}{remark}")
    for line in _describe_use(folder):
        say(line)
    return targets


def _read_weights(run: Path, which: str) -> Checkpoint:
    if not run.is_dir():
        raise UserError(f"{run}: no such folder, expected the folder of a run")
    names = (LAST,) if which == "last" else (BEST, LAST)
    path = next((run / name for name in names if (run / name).is_file()), None)
    if path is None:
        raise UserError(f"{run}: holds no weights yet; a run writes them with each state and each validation")
    return read_checkpoint(path)


def _describe_weights(checkpoint: Checkpoint, which: str) -> str:
    """Return which weights of the run these are, and why."""
    name, training = checkpoint.path.name, checkpoint.config.training
    if name == BEST:
        validation = training["validation"]
        with_clicks = ""
        if "clicked_dice" in validation:
            with_clicks = f", {validation['clicked_dice']:.4f} with {validation['clicks']} clicks of each kind"
        reason = f"the best validation: mean Dice {validation['dice']:.4f} of {validation['cases']} scans{with_clicks}"
    elif which == "last":
        reason = "--which last"
    else:
        reason = f"no validation has finished, so there is no {BEST}"
    return f"{name} of step {training['step']} of {training['steps']} ({reason})"


def _describe_use(folder: Path) -> list[str]:
    """Return what `process.py` uses of a folder and what it leaves out; with clicks it may use other files."""
    try:
        automatic = find_checkpoints([folder])
    except UserError as error:
        return [f"warning: process.py --weights {folder} will be refused: {error}"]
    with_clicks = find_checkpoints([folder], interactive=True)
    lines = [_describe_files(folder, "", automatic)]
    if with_clicks.files != automatic.files:
        lines.append(_describe_files(folder, " --clicks FILE", with_clicks))
    return [*lines, *(f"notice: {notice}" for notice in automatic.notices)]


def _describe_files(folder: Path, options: str, found: FoundCheckpoints) -> str:
    names = ", ".join(path.name for path in found.files)
    several = f"an ensemble of {len(found.files)}: " if len(found.files) > 1 else ""
    marked = any(path.suffix == OWN_SUFFIX and read_config(path).demonstration for path in found.files)
    remark = " (a demonstration, not for patients)" if marked else ""
    return f"process.py --weights {folder}{options} will use {several}{names}{remark}"


def _describe_replaced(target: Path, *, overwrite: bool) -> str:
    """Return a remark about the file that will be replaced; empty if there is none.

    Raises
    ------
    UserError
        If the file cannot be written, or holds something else than weights of a run and `overwrite` is not set.
    """
    require_writable(target)
    if not target.exists():
        return ""
    try:
        step = read_config(target).training.get("step")
    except UserError:
        step = None
    if step is not None:
        return f"; replaced the weights of step {step}"
    if not overwrite:
        raise UserError(
            f"{target}: exists and holds no weights of a run of this program; choose another folder, or replace it "
            "with --overwrite"
        )
    return "; replaced a file that held no weights of a run of this program"
