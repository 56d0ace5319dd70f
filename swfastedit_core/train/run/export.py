"""Export of weights for `process.py`: one file for each run; the folds of a cross-validation are an ensemble."""

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
    """Write the weights of runs into a folder; each file has the name of its run.

    Parameters
    ----------
    runs
        Folders of runs.
    folder
        Folder for the weights, such as ``weights/``. Files of the same name are replaced.
    which
        ``best``: weights of the best validation, or the last weights if there is no validation set;
        ``last``: weights of the last saved state.
    half
        Store float16: half the size.
    say
        Takes a line for each file.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    UserError
        If a folder holds no weights of a run, two runs have the same name, or a file cannot be written.
    """
    names = [run.resolve().name for run in runs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise UserError(f"two runs are called {repeated} and would become one file; rename one of the folders")
    exports = [
        (_read_weights(run, which), folder / f"{name}.safetensors") for run, name in zip(runs, names, strict=True)
    ]
    for _, target in exports:
        require_writable(target)
    for checkpoint, target in exports:
        write_checkpoint(replace(checkpoint, path=target), target, half=half)
        training = checkpoint.config.training
        say(f"{target}: step {training['step']}, {training['validation'] or 'not validated'}")
    return [target for _, target in exports]


def _read_weights(run: Path, which: str) -> Checkpoint:
    if not run.is_dir():
        raise UserError(f"{run}: no such folder, expected the folder of a run")
    names = (LAST,) if which == "last" else (BEST, LAST)
    path = next((run / name for name in names if (run / name).is_file()), None)
    if path is None:
        raise UserError(f"{run}: holds no weights yet; a run writes them with each state and each validation")
    return read_checkpoint(path)
