"""TOML files with options of the training command, such as ``weights/demo.toml``."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError

NOT_IN_FILES = ("--options", "--help")


def read_options_file(path: Path, parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Turn a TOML file into command-line arguments.

    Parameters
    ----------
    path
        Each key is the name of an option: ``learning-rate = 1e-3``, ``data = ["phantom:400"]``,
        ``deep-supervision = true``. Tables group keys and mean nothing. Paths start at the working directory.
    parser
        The parser whose options the file may hold.

    Returns
    -------
    dict
        The arguments for each option, such as ``["--clip", "1"]`` for the key ``--clip``, and ``["--no-skip-bad"]`` for
        the key ``--skip-bad``.

    Raises
    ------
    UserError
        If the file cannot be read, is not TOML, or has a key that is not an option.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--options {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--options {path}: not a TOML file of options ({error})") from error
    known = {name for action in parser._actions for name in action.option_strings}
    arguments: dict[str, list[str]] = {}
    for key, value in _keys_and_values(content):
        option = f"--{key}"
        if option not in known or option in NOT_IN_FILES:
            raise UserError(f"--options {path}: '{key}' is not an option of {parser.prog}; see its --help")
        if isinstance(value, bool):
            arguments[option] = [option if value else f"--no-{key}"]
        else:
            arguments[option] = [option, *map(str, value if isinstance(value, list) else [value])]
    return arguments


def _keys_and_values(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of all tables with their values."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _keys_and_values(value)
        else:
            yield key, value
