"""Figures of several parts in one JSON file. New figures of a part replace the old ones; other parts are kept."""

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

FOLDER = Path("bench/here")  # for the figures of this machine; bench/results holds those of the documentation


class Record:
    """A file of figures.

    Attributes
    ----------
    path
        The JSON file.
    content
        Its content: machine and versions, and for each part its date, its settings and its figures.

    Parameters
    ----------
    path
        Figures in an existing file are kept if they come from the same machine and the same versions.
    device
        The device that is measured.

    Raises
    ------
    UserError
        If the file holds something other than figures, or cannot be written.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        require_writable(path)
        self.path = path
        origin = {"machine": name_of(device), "torch": torch.__version__, "openvino": _version("openvino")}
        self.content: dict[str, Any] = {**origin, "dates": {}, "settings": {}}
        if not path.exists():
            return
        existing = _read(path)
        if all(existing.get(name) == value for name, value in origin.items()):
            self.content |= existing
        else:
            say(f"notice: {path} has figures of another machine or of other versions; they are replaced")

    def write(self, part: str, figures: Any, settings: dict[str, Any]) -> None:
        """Add the figures of a part and write the file."""
        self.content[part] = figures
        self.content["dates"][part], self.content["settings"][part] = date.today().isoformat(), settings
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + "\n")


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
