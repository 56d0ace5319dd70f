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
SHIPPED = "demo.safetensors"  # the demonstration of the repository, in its folder weights/
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


def find_checkpoints(paths: Iterable[str | Path]) -> FoundCheckpoints:
    """List the checkpoint files among files and folders.

    In a folder, a file of `torch.save` is left out if a ``.safetensors`` file has the same stem: both hold the same
    weights. Demonstration weights are left out if the folder holds other weights; the shipped demonstration is left out
    beside any other weights. Documents are ignored. Everything else that is left out is named in a notice.

    Raises
    ------
    UserError
        If a path does not exist, a folder holds no checkpoint, a folder belongs to a training run (its best and
        last weights are not an ensemble), a folder holds several demonstrations beside the shipped one and nothing
        else, or a file is named twice.
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
        files, notice = _in_folder(path)
        found += files
        notices += notice
    for path in found:
        if sum(path.samefile(other) for other in found) > 1:
            raise UserError(f"{path}: these weights are named twice and would count twice in the ensemble")
    return FoundCheckpoints(tuple(found), tuple(notices))


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
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
    weights = [path for path in weights if path not in twins]
    demonstrations = [path for path in weights if path.suffix == OWN_SUFFIX and read_config(path).demonstration]
    if demonstrations == weights:
        demonstrations = _all_but_one(folder, demonstrations)
    left_out = (
        (others, f"expected {ENDINGS}"),
        (twins, f"the {OWN_SUFFIX} file of the same name is used"),
        (demonstrations, "demonstration weights are not used beside others"),
    )
    notices = [f"{folder}: not used: {_names(paths)} ({reason})" for paths, reason in left_out if paths]
    return [path for path in weights if path not in demonstrations], notices


def _all_but_one(folder: Path, demonstrations: Sequence[Path]) -> list[Path]:
    """Return the demonstrations that are left out of a folder without other weights: the shipped one, beside another.

    Raises
    ------
    UserError
        If there are several others.
    """
    others = [path for path in demonstrations if path.name != SHIPPED]
    if len(others) > 1:
        raise UserError(
            f"{folder}: holds several demonstration weights ({_names(others)}), expected one; name the file to use "
            "with --weights FILE"
        )
    return [path for path in demonstrations if others and path.name == SHIPPED]


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in DOCUMENTS or path.stem.upper() in DOCUMENT_NAMES


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:SHOWN]) + (
        f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    )
