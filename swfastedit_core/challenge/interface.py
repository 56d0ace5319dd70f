"""What grand-challenge.org expects of an algorithm container: its folders, sockets and file names."""

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
PORT = 4743  # of the invoke method
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
        File with an annotator's clicks; None where the challenge has none.
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
        The platform's ``/input``, or one like it. Where an ``inputs.json`` names the PET, the file of that name is
        taken; it may as well be absent, or name none of the files.

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

    The platform names CT and PET as it likes: the only CT belongs to the only PET. Where there are more, an
    ``inputs.json`` may name one; else a CT belongs to the PET whose name it has.

    Parameters
    ----------
    folder
        The platform's ``/input``, or one like it.
    pets
        From `find_pets`.

    Returns
    -------
    list of Path
        A file of ``images/ct/*.mha`` for each PET.

    Raises
    ------
    UserError
        If there is none for a PET, or it is not clear which.
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
    """Say that a click file is there and not used; None where there is no click in it.

    Clicks need a network trained with guidance channels. A file that cannot be read is no failure, since the mask
    does not depend on it.
    """
    if task.clicks is None or not (folder / task.clicks).is_file():
        return None
    content = _json(folder / task.clicks)
    points = content.get("points") if isinstance(content, dict) else None
    if not isinstance(points, list):
        return f"{folder / task.clicks}: no list of points in it, and not used"
    return f"{folder / task.clicks}: {len(points)} click(s) not used, the network takes none" if points else None


def write_data_centric(folder: Path, *, value: bool) -> None:
    """Write autoPET III's second output: whether the submission takes part in its data-centric category.

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
    """List the .mha files of a socket, at least one, sorted; where the inventory names some of them, only those."""
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
    """Return what a socket's file may be called, without its ending, as the platform's list of inputs has it.

    An entry is ``{"socket": {"relative_path": "images/pet", …}, "image": {"pk": …, "name": …}, …}``; the platform
    wrote ``interface`` instead of ``socket`` before 2025 and may still for older images.
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
    """Read a file that nothing depends on: None where it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
