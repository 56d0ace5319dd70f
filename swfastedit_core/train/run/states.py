"""State files of a run: written atomically, verified by a checksum when read, the newest few kept."""

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

STATE_SUFFIX, DAMAGED_SUFFIX = ".state", ".damaged"
DIGEST_BYTES = 32  # a file ends with the SHA-256 of the bytes before it


class DamagedStateError(Exception):
    """A state file cannot be used. The message has no subject: the caller puts the path in front of it."""


def write_state(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Write the state of a step, then remove the oldest states.

    Parameters
    ----------
    folder
        Folder of the states.
    state
        Tensors, numbers, texts, lists and dictionaries.
    step
        Step of the state; the name of the file.
    keep
        Number of states that are kept, this one included.

    Raises
    ------
    UserError
        If the file cannot be written, for example because the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"{step:08d}{STATE_SUFFIX}"
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
        others = [old for old in list_states(folder) if old != path]
        for old in others[: max(len(others) - keep + 1, 0)]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path}: the state cannot be written ({error.strerror}); free some space and continue with --resume"
        ) from error
    return path


def list_states(folder: Path) -> list[Path]:
    """Return the state files in a folder, the oldest first."""
    return sorted(path for path in folder.glob(f"*{STATE_SUFFIX}") if path.stem.isdigit())


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file.

    Raises
    ------
    DamagedStateError
        If it cannot be read, or its checksum is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedStateError(f"cannot be read ({error.strerror})") from error
    body = memoryview(content)[:-DIGEST_BYTES]
    if hashlib.sha256(body).digest() != content[-DIGEST_BYTES:]:
        raise DamagedStateError("is damaged")
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state


def read_newest_state(folder: Path, *, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest valid state with its path; None if the folder holds no state.

    Damaged states that are newer than it get the suffix ``.damaged``. They then do not count as kept states.

    Parameters
    ----------
    folder
        Folder of the states.
    warn
        Takes a line for each damaged state that was skipped.

    Raises
    ------
    UserError
        If all states are damaged.
    """
    paths, damaged = list_states(folder), []
    for path in reversed(paths):
        try:
            state = read_state(path)
        except DamagedStateError as error:
            warn(f"warning: {path} {error}; using the previous state instead")
            damaged.append(path)
        else:
            for one in damaged:
                with suppress(OSError):
                    one.rename(one.with_suffix(DAMAGED_SUFFIX))
            return path, state
    if paths:
        raise UserError(f"{folder}: all {len(paths)} states are damaged; start again with another --output")
    return None
