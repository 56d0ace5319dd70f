"""Figures of several parts in one file: what is measured again replaces what was there, the other parts stay."""

from __future__ import annotations

import json
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench.machine import name_of
from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.command import require_writable, say

HERE = Path("bench/here")  # what users measure; bench/results holds what the documentation tells


class Record:
    """A file of figures.

    Attributes
    ----------
    path
        Of the file, JSON.
    found
        All that is in it: the machine and versions, and by part its date, its settings and its figures.

    Parameters
    ----------
    path
        A file that is there is gone on with where it comes from this machine and these versions, else begun anew.
    device
        Of the figures.

    Raises
    ------
    UserError
        If the file is none of these, or cannot be written.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        require_writable(path)
        self.path = path
        origin = {"machine": name_of(device), "torch": torch.__version__, "openvino": _version("openvino")}
        self.found: dict[str, Any] = {**origin, "dates": {}, "settings": {}}
        if not path.exists():
            return
        before = _read(path)
        if all(before.get(name) == value for name, value in origin.items()):
            self.found |= before
        else:
            say(f"notice: {path} is of another machine or other versions, and begun anew")

    def keep(self, part: str, figures: Any, settings: dict[str, Any]) -> None:
        """Write the figures of a part."""
        self.found[part] = figures
        self.found["dates"][part], self.found["settings"][part] = date.today().isoformat(), settings
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.found, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); choose another --output") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in ("dates", "settings")):
        raise UserError(f"{path}: holds no figures of an earlier run; choose another --output")
    return content


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
