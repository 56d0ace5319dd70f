"""The state of a run on disk: written whole or not at all, known to be good when read, the last few kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing

SUFFIX, DAMAGED = ".state", ".damaged"
DIGEST_BYTES = 32  # a SHA-256 of what comes before it ends each file


class DamagedStateError(Exception):
    """A state that cannot be used; one line says why."""


def write_state(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Write the state of a step, then remove older ones.

    Parameters
    ----------
    folder
        Of the run's states.
    state
        Tensors, numbers, texts, lists and dictionaries.
    step
        Names the file.
    keep
        States that stay, this one included.

    Raises
    ------
    UserError
        If the disk is full or cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"{step:08d}{SUFFIX}"
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
        others = [old for old in list_states(folder) if old != path]
        for old in others[: max(len(others) - keep + 1, 0)]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the state cannot be written ({error.strerror}); make room and resume") from error
    return path


def list_states(folder: Path) -> list[Path]:
    """List the states of a run, the oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())


def read_state(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises
    ------
    DamagedStateError
        If it is not what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedStateError(f"cannot be read ({error.strerror})") from error
    body = memoryview(content)[:-DIGEST_BYTES]
    if hashlib.sha256(body).digest() != content[-DIGEST_BYTES:]:
        raise DamagedStateError("is not whole")
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state


def read_newest_state(folder: Path, *, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """Return the latest state that is good and its file; None where there is none at all.

    DamagedStateError ones that are newer get another ending: they would count among those that are kept.

    Parameters
    ----------
    folder
        Of the run's states.
    warn
        Told of each damaged state on the way.

    Raises
    ------
    UserError
        If there are states and every one is damaged.
    """
    found, damaged = list_states(folder), []
    for path in reversed(found):
        try:
            state = read_state(path)
        except DamagedStateError as error:
            warn(f"warning: {path} {error}, the state before it is taken")
            damaged.append(path)
        else:
            for one in damaged:
                with suppress(OSError):
                    one.rename(one.with_suffix(DAMAGED))
            return path, state
    if found:
        raise UserError(f"{folder}: all {len(found)} states are damaged; choose another --output to start again")
    return None
