"""Settings and argparse: options made of the fields of a settings class, and settings made of parsed options."""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping
from dataclasses import MISSING
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from swfastedit_core.system.command import path_argument
from swfastedit_core.train.setting import Option, options_of, text_of

S = TypeVar("S")
NO_MEANINGS: Mapping[str, str] = MappingProxyType({})


def add_settings(
    parser: argparse._ActionsContainer,
    kind: type,
    *,
    only: Container[str] | None = None,
    only_given: bool = False,
    meanings: Mapping[str, str] = NO_MEANINGS,
) -> None:
    """Add the options of a settings class to a parser or to a group of it.

    Parameters
    ----------
    parser
        Gets the options.
    kind
        The settings class.
    only
        Names of its fields; None takes all that have a flag.
    only_given
        Whether an option that is not given is None, whatever its default, and none is required.
    meanings
        Help texts of fields that mean something else here.
    """
    types = get_type_hints(kind)
    for field, option in options_of(kind):
        if option.flag is None or (only is not None and field.name not in only):
            continue
        keywords = _keywords_of_type(types[field.name]) if option.parse is None else {}
        if option.metavar is not None:
            keywords["metavar"] = option.metavar
        if option.choices:
            keywords["choices"] = option.choices
        if only_given:
            keywords["default"] = None
        elif field.default is MISSING:
            keywords["required"] = True
        else:
            keywords["default"] = field.default
        parser.add_argument(
            option.flag, help=_help(meanings.get(field.name, option.meaning), option, field.default), **keywords
        )


def settings_of(kind: type[S], options: argparse.Namespace, **values: Any) -> S:
    """Make settings of options; fields without an option in the namespace keep their defaults.

    Parameters
    ----------
    kind
        A settings class.
    options
        From a parser with options of that class.
    values
        Fields that are given here and not by options.

    Raises
    ------
    UserError
        If a value is not allowed.
    """
    given = vars(options)
    parsed = {field.name: _value(option, given) for field, option in options_of(kind) if option.destination in given}
    return kind(**(parsed | values))


def _value(option: Option, given: dict[str, Any]) -> Any:
    """Return the value of an option as its field holds it."""
    value = given[option.destination]
    if option.parse is not None and isinstance(value, str):
        return option.parse(value)
    return tuple(value) if isinstance(value, list) else value


def _keywords_of_type(kind: Any) -> dict[str, Any]:
    """Return argparse's keywords for a field of this type."""
    alternatives = [one for one in get_args(kind) if one is not NoneType] if NoneType in get_args(kind) else [kind]
    (kind,) = alternatives
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return {"type": first, "nargs": "+" if others == [...] else 1 + len(others)}
    return {"type": path_argument if kind is Path else kind}


def _help(meaning: str, option: Option, default: object) -> str:
    """Return the help text with the default, if there is one to show."""
    text = option.default_text
    if text is None and default is not MISSING and not isinstance(default, bool) and default not in (None, (), ""):
        text = text_of(default)
    return meaning if text is None else f"{meaning} (default: {text})"
