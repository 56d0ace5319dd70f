"""Which files are the weights, among files and folders that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.checkpoint.kinds import ENDINGS, OWN_SUFFIX, SUFFIXES
from swfastedit_core.checkpoint.storage import read_config
from swfastedit_core.errors import UserError

STATES_OF_A_RUN = "states"  # folder of a training run, next to its weights
DOCUMENTS = {".md", ".txt", ".toml", ".json", ".yaml", ".yml", ".csv", ".log", ".png", ".jpg", ".pdf", ".html"}
DOCUMENT_NAMES = {"LICENSE", "LICENCE", "NOTICE", "README"}
SHIPPED = ("demo.safetensors", "demo-interactive.safetensors")  # in the repository's folder weights/
SHOWN = 5  # number of files that a notice names


@dataclass(frozen=True)
class FoundCheckpoints:
    """Files of weights.

    Attributes
    ----------
    files
        The files, in the order of the names that were given; those of a folder in alphabetical order.
    notices
        What was left out of folders, as sentences for the user.
    """

    files: tuple[Path, ...]
    notices: tuple[str, ...] = ()


def find_checkpoints(paths: Iterable[str | Path], *, interactive: bool = False) -> FoundCheckpoints:
    """List the checkpoint files among files and folders.

    A file that is named is always used. Of a folder, these are left out, in this order:

    1. a file of `torch.save`, if a ``.safetensors`` file has the same stem: both hold the same weights;
    2. demonstrations, if there are other weights; the shipped ones, if there are other demonstrations;
    3. networks of the other use, if there are some of the wanted use: interactive networks take clicks, automatic ones
       do not.

    Documents are ignored. Everything else that is left out is named in a notice, except a shipped demonstration beside
    the other one.

    Parameters
    ----------
    paths
        Files and folders.
    interactive
        Whether there may be clicks.

    Raises
    ------
    UserError
        If a path does not exist, a folder holds no checkpoint, a folder belongs to a training run (its best and
        last weights are not an ensemble), a folder holds several demonstrations of one use beside the shipped ones and
        nothing else, or a file is named twice.
    """
    found: list[Path] = []
    notices: list[str] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            what = "is not a file or folder" if path.exists() else "no such file or folder"
            raise UserError(f"{path}: {what}, expected weights ({ENDINGS})")
        files, notice = _in_folder(path, interactive=interactive)
        found += files
        notices += notice
    for path in found:
        if sum(path.samefile(other) for other in found) > 1:
            raise UserError(f"{path}: these weights are named twice and would count twice in the ensemble")
    return FoundCheckpoints(tuple(found), tuple(notices))


def _in_folder(folder: Path, *, interactive: bool) -> tuple[list[Path], list[str]]:
    """Return the weights of a folder, and notices about what is left out."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    weights = [path for path in files if path.suffix in SUFFIXES]
    if not weights:
        raise UserError(f"{folder}: the folder holds no weights, expected {ENDINGS} files")
    if (folder / STATES_OF_A_RUN).is_dir():
        raise UserError(
            f"{folder}: is the folder of a training run; name one file in it, such as {weights[-1]}, or export the run"
        )
    others = [path for path in files if path not in weights and not _is_document(path)]
    twins = [path for path in weights if path.suffix != OWN_SUFFIX and path.with_suffix(OWN_SUFFIX) in weights]
    left = _without(weights, twins)
    marked = [path for path in left if path.suffix == OWN_SUFFIX and read_config(path).demonstration]
    demonstrations = _unused_demonstrations(left, marked)
    left = _without(left, demonstrations)
    of_the_other_use = _of_the_other_use(left, interactive=interactive)
    used = _without(left, of_the_other_use)
    if len(used) > 1 and set(used) <= set(marked):
        raise UserError(
            f"{folder}: holds several demonstration weights ({_names(used)}), expected one; name the file to use "
            "with --weights FILE"
        )
    wanted = "with clicks, interactive networks" if interactive else "without clicks, automatic networks"
    left_out = (
        (others, f"expected {ENDINGS}"),
        (twins, f"the {OWN_SUFFIX} file of the same name is used"),
        (demonstrations, "demonstration weights are not used beside others, unless named with --weights FILE"),
        (_without(of_the_other_use, [path for path in marked if path.name in SHIPPED]), f"{wanted} are used"),
    )
    return used, [f"{folder}: not used: {_names(paths)} ({reason})" for paths, reason in left_out if paths]


def _unused_demonstrations(weights: Sequence[Path], marked: Sequence[Path]) -> list[Path]:
    """Return the demonstrations beside other weights; if there are no other weights, the shipped ones beside others."""
    if len(marked) < len(weights):
        return list(marked)
    shipped = [path for path in marked if path.name in SHIPPED]
    return shipped if len(shipped) < len(marked) else []


def _of_the_other_use(weights: Sequence[Path], *, interactive: bool) -> list[Path]:
    """Return the automatic networks for interactive use, or the reverse; none if there are no others."""
    if len(weights) == 1:
        return []  # a file of torch.save is not read
    other = [path for path in weights if read_config(path).channels.takes_clicks is not interactive]
    return other if len(other) < len(weights) else []


def _without(paths: Sequence[Path], left_out: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path not in left_out]


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in DOCUMENTS or path.stem.upper() in DOCUMENT_NAMES


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:SHOWN]) + (
        f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    )
