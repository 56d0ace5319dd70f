"""Provenance of trained weights: the command and its options, without the folders of files."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any

from swfastedit_core.train.setting import Option


def describe_command(
    program: str, options: argparse.Namespace, arguments: list[str], *, described: Sequence[Option]
) -> dict[str, Any]:
    """Return command, seed and the values of options, as they are stored with the weights.

    Folders are left out: they may name people or places, and weights may be published where data may not.

    Parameters
    ----------
    program
        How the program is started, such as ``python -m swfastedit_core.train``.
    options
        From `options.parse`.
    arguments
        The command line behind the program's name.
    described
        The options to describe.
    """
    values = {option.destination: getattr(options, option.destination) for option in described}
    names_files = {option.destination for option in described if option.names_files}
    return {
        "command": shlex.join([*program.split(), *map(_without_folders, arguments)]),
        "options": {name: _without_folders(value) if name in names_files else value for name, value in values.items()},
        "seed": options.seed,
    }


def _without_folders(value: Any) -> Any:
    """Replace folders in a path, or in each path of several, by ``...``; a fold such as ``0/5`` stays."""
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    if value is None or re.fullmatch(r"(--fold=)?[0-9]+/[0-9]+", str(value)):
        return value
    return re.sub(r"[^:=]*/", ".../", str(value))
