"""The options that a command line or an image gives, without defaults."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from swfastedit_core.challenge.port import OPTIONS
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument

LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "device": (lambda value: re.fullmatch(r"auto|cpu|cuda(:\d+)?", value) is not None, "auto, cpu, cuda or cuda:N"),
    "port": (lambda value: 0 < value < 2**16, "1 to 65535"),
    "window_batch": (lambda value: value >= 1, "1 or more"),
    "overlap": (lambda value: 0.0 <= value < 1.0, "0 or more and less than 1"),
    "session_memory_mb": (lambda value: 0.0 <= value < float("inf"), "0 or more"),
    "min_lesion_ml": (lambda value: value >= 0.0, "0 or more"),
}


class Once(argparse.Action):
    """Stores a value, and refuses a second one: the first would be left out without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice, expected the CT of one scan")
        setattr(namespace, self.dest, values)


def read_words(parser: Parser, words: list[str]) -> dict[str, Any]:
    """Return the options that are given, and no defaults. Words after ``--`` are scans, whatever they begin with."""
    names = vars(parser.parse_intermixed_args([]))
    end = words.index("--") if "--" in words else len(words)
    values = vars(parser.parse_intermixed_args(words[:end], argparse.Namespace(**dict.fromkeys(names))))
    if scans := words[end + 1 :]:
        values["scans"] = [*(values["scans"] or []), *map(path_argument, scans)]
    require_limits(parser, values)
    return {name: value for name, value in values.items() if value not in (None, [])}


def require_limits(parser: Parser, values: Mapping[str, Any]) -> None:
    """Refuse a value beyond its limits. Options that are not there, or None, pass.

    Raises
    ------
    UserError
        Names the option, its value and the limits.
    """
    for name, (fits, expected) in LIMITS.items():
        if values.get(name) is not None and not fits(values[name]):
            parser.error(f"--{name.replace('_', '-')} {values[name]}, expected {expected}")


def read_image_options(parser: Parser, baked_in: str) -> dict[str, Any]:
    """Return the options of an image. It names no scan, since that would be segmented again and again."""
    try:
        words = shlex.split(baked_in)
        if {"-h", "--help"} & set(words):
            parser.error("--help ends the program without a mask")
        image = read_words(parser, words)
        if {"scans", "pet", "ct", "clicks"} & set(image):
            parser.error("names a scan; scans are named on the command line")
    except (UserError, ValueError) as error:
        raise UserError(f"{OPTIONS}: {error}") from error
    return image
