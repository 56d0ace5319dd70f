"""From runs to weights that `process.py` uses: one file a run, the folds of a cross-validation an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from swfastedit_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import require_writable
from swfastedit_core.train.run.recorder import BEST, LAST


def export_runs(
    runs: Sequence[Path], folder: Path, *, which: str, half: bool, say: Callable[[str], None]
) -> list[Path]:
    """Write the weights of runs into a folder, each under its run's name.

    Parameters
    ----------
    runs
        Folders of runs.
    folder
        Such as ``weights/``. Files of the same name are replaced.
    which
        ``best``: of the validation with the highest mean Dice, the last one where nothing was held out;
        ``last``: as the run ended.
    half
        Store float16: half the size.
    say
        Told of each file.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        If a folder is not that of a run that has come so far, two runs have one name, or a file cannot be written.
    """
    names = [run.resolve().name for run in runs]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise UserError(f"two runs are called {doubled} and would be one file; rename one of the folders")
    found = [(_weights(run, which), folder / f"{name}.safetensors") for run, name in zip(runs, names, strict=True)]
    for _, target in found:
        require_writable(target)
    for checkpoint, target in found:
        write_checkpoint(replace(checkpoint, path=target), target, half=half)
        training = checkpoint.config.training
        say(f"{target}: step {training['step']}, {training['validation'] or 'not validated'}")
    return [target for _, target in found]


def _weights(run: Path, which: str) -> Checkpoint:
    if not run.is_dir():
        raise UserError(f"{run}: no such folder, expected that of a run")
    wanted = (LAST,) if which == "last" else (BEST, LAST)
    path = next((run / name for name in wanted if (run / name).is_file()), None)
    if path is None:
        raise UserError(f"{run}: holds no weights yet; they are written at each validation and with each state")
    return read_checkpoint(path)
