"""The ways to use the command, and which one a command line asks for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from swfastedit_core.system.command import Parser


@dataclass(frozen=True)
class Mode:
    """One way to use the command.

    Attributes
    ----------
    key
        The option that chooses it.
    needs, takes
        Options that it needs besides, and those that it can have. `COMMON` ones belong to every mode.
    run
        Does everything, given the parsed options and a stream for the reasons of cases that fail.
    """

    key: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    run: Callable[[argparse.Namespace, TextIO], None]


def choose_mode(options: argparse.Namespace, modes: Sequence[Mode], parser: Parser) -> Mode:
    """Return the mode of a command line; refuse options of other modes.

    A mode that needs the option of another one, as --clicks needs --weights, comes before it.

    Raises
    ------
    UserError
        If there is no mode, there are several, or an option is missing or belongs to another mode.
    """
    given = {flag_of(name) for name, value in vars(options).items() if value is not None}
    keys = {mode.key for mode in modes}
    needed = {flag for mode in modes if mode.key in given for flag in mode.needs}
    chosen = [mode for mode in modes if mode.key in given - needed]
    if not chosen:
        parser.error(f"nothing to score: give {' or '.join(mode.key for mode in modes if not keys & {*mode.needs})}")
    if len(chosen) > 1:
        parser.error(f"{' and '.join(mode.key for mode in chosen)} exclude each other; give one of them")
    (mode,) = chosen
    if missing := [flag for flag in mode.needs if flag not in given]:
        parser.error(f"{mode.key} needs {' and '.join(missing)}, too")
    own = {mode.key, *mode.needs, *mode.takes}
    for other in modes:
        foreign = sorted(given & {*other.needs, *other.takes} - own)
        if foreign:
            parser.error(f"{foreign[0]} belongs to {other.key}, and {mode.key} is given")
    return mode


def flag_of(name: str) -> str:
    """Return an option as it is written, by its name in the parser's result."""
    return f"--{name.replace('_', '-')}"
