"""The interface of a grand-challenge.org algorithm container: folders, sockets and file names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing

INPUT = Path("/input")
OUTPUT = Path("/output")
PET = Path("images/pet")
CT = Path("images/ct")
INVENTORY = Path("inputs.json")
DATA_CENTRIC = Path("data-centric-model.json")


@dataclass(frozen=True)
class Task:
    """The sockets of a challenge, as paths below ``/input`` and ``/output``.

    Attributes
    ----------
    mask
        Folder of the mask.
    clicks
        File with an annotator's clicks; None if the challenge has none.
    """

    mask: Path
    clicks: Path | None = None


TASKS = {
    "autopet2": Task(Path("images/automated-petct-lesion-segmentation")),  # and III
    "autopet4": Task(Path("images/tumor-lesion-segmentation"), Path("lesion-clicks.json")),  # and V
}


def find_pets(folder: Path) -> list[Path]:
    """List the PET files of a case.

    Parameters
    ----------
    folder
        ``/input`` on the platform. If its ``inputs.json`` names a file of ``images/pet``, only this file is used,
        otherwise all files.

    Returns
    -------
    list of Path
        ``images/pet/*.mha``, at least one, sorted.

    Raises
    ------
    UserError
        If there is none.
    """
    return _scans(folder, PET, "the PET", otherwise="; use --pet FILE for a file elsewhere")


def find_cts(folder: Path, pets: Sequence[Path]) -> list[Path]:
    """List the CT of each PET of a case.

    The platform's file names do not tell which CT belongs to a PET. A single CT belongs to a single PET. With more
    files, ``inputs.json`` may name one; otherwise a CT belongs to the PET of the same name.

    Parameters
    ----------
    folder
        ``/input`` on the platform.
    pets
        From `find_pets`.

    Returns
    -------
    list of Path
        A file of ``images/ct/*.mha`` for each PET.

    Raises
    ------
    UserError
        If a PET has no CT, or more than one CT could be its own.
    """
    found = _scans(folder, CT, "the CT, which the network takes as well,")
    if len(pets) == len(found) == 1:
        return found
    names = [ct.name for ct in found]
    for pet in pets:
        if pet.name not in names:
            raise UserError(
                f"{folder / CT}: found {', '.join(names[:5])} for {len(pets)} PET, expected one file for one PET, "
                f"or one named {pet.name} as its PET is"
            )
    return [folder / CT / pet.name for pet in pets]


def click_notice(folder: Path, task: Task) -> str | None:
    """Return a notice that clicks are not used; None if there are none.

    Clicks need a network with guidance channels. A click file that cannot be read is not an error: the mask does
    not depend on it.
    """
    if task.clicks is None or not (folder / task.clicks).is_file():
        return None
    content = _json(folder / task.clicks)
    points = content.get("points") if isinstance(content, dict) else None
    if not isinstance(points, list):
        return f"{folder / task.clicks}: holds no list of points and is not used"
    return f"{folder / task.clicks}: {len(points)} click(s) not used, the network takes no clicks" if points else None


def write_data_centric(folder: Path, *, value: bool) -> None:
    """Write autoPET III's second output: whether the submission is in the data-centric category.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = folder / DATA_CENTRIC
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(value))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _scans(folder: Path, socket: Path, what: str, *, otherwise: str = "") -> list[Path]:
    """List the .mha files of a socket, at least one, sorted; only the one that ``inputs.json`` names, if it does."""
    place = folder / socket
    try:
        names = sorted(path.name for path in place.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{place}: no such folder, expected {what} there as one .mha file{otherwise}") from error
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}), expected {what} there") from error
    found = [place / name for name in names if name.endswith(".mha") and not name.startswith(".")]
    if not found:
        raise UserError(f"{place}: found {', '.join(names[:5]) or 'nothing'}, expected one .mha file")
    named = _names_in_inventory(folder / INVENTORY, socket)
    return [path for path in found if path.stem in named] or found


def _names_in_inventory(path: Path, place: Path) -> set[str]:
    """Return the possible names of a socket's file, without their ending, from the platform's list of inputs.

    An entry is ``{"socket": {"relative_path": "images/pet", …}, "image": {"pk": …, "name": …}, …}``; the platform
    wrote ``interface`` instead of ``socket`` before 2025 and may still do so for older images.
    """
    entries = _json(path)
    names: set[str] = set()
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        socket, image = entry.get("socket") or entry.get("interface"), entry.get("image")
        if isinstance(socket, dict) and isinstance(image, dict) and _is(place, socket.get("relative_path")):
            names |= {str(image.get(key)).removesuffix(".mha") for key in ("pk", "name") if image.get(key)}
    return names


def _is(place: Path, relative_path: Any) -> bool:
    return isinstance(relative_path, str) and Path(relative_path) == place


def _json(path: Path) -> Any:
    """Read a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
