"""The options that a command line or an image gives, without defaults."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any

from swfastedit_core.challenge.port import OPTIONS
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser

LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "port": (lambda value: 0 < value < 2**16, "1 to 65535"),
    "window_batch": (lambda value: value >= 1, "1 or more"),
    "overlap": (lambda value: 0.0 <= value < 1.0, "0 or more and less than 1"),
    "min_lesion_ml": (lambda value: value >= 0.0, "0 or more"),
}


def read_words(parser: Parser, words: list[str]) -> dict[str, Any]:
    """Return the options that are given, and no defaults."""
    names = vars(parser.parse_intermixed_args([]))
    values = vars(parser.parse_intermixed_args(words, argparse.Namespace(**dict.fromkeys(names))))
    for name, (fits, expected) in LIMITS.items():
        if values[name] is not None and not fits(values[name]):
            parser.error(f"--{name.replace('_', '-')} {values[name]}, expected {expected}")
    return {name: value for name, value in values.items() if value not in (None, [])}


def read_image_options(parser: Parser, baked_in: str) -> dict[str, Any]:
    """Return the options of an image. It names no scan, since that would be segmented again and again."""
    try:
        image = read_words(parser, shlex.split(baked_in))
        if {"scans", "pet", "ct"} & set(image):
            parser.error("names a scan; scans are named on the command line")
    except (UserError, ValueError) as error:
        raise UserError(f"{OPTIONS}: {error}") from error
    return image
