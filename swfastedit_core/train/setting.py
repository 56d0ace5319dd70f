"""A setting of training: default, flag, meaning and allowed values stand once, in the field of a dataclass.

`setting` makes such a field, `require_valid` checks the values of all fields, and `swfastedit_core.train.options` makes
the command line of the same fields::

    @dataclass(frozen=True)
    class CropSettings:
        positive: float = setting(0.6, "--positive", "share of crops around a lesion voxel", metavar="P", check=SHARE)

        def __post_init__(self) -> None:
            require_valid(self)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from swfastedit_core.errors import UserError

T = TypeVar("T")
METADATA_KEY = "option"


@dataclass(frozen=True)
class Check:
    """The values that a setting may have.

    Attributes
    ----------
    allows
        Whether a value is one of them.
    expected
        These values in words, as they follow "expected" in a message.
    """

    allows: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True)
class Option:
    """How a setting is given on the command line, and which values it may have.

    Attributes
    ----------
    flag
        Name of the option; None for a setting that Python code alone can change.
    meaning
        Help text without the default.
    metavar
        Name of the value in the help, one name for each value where there are several; None takes argparse's.
    choices
        All allowed texts; empty for any.
    default_text
        The default in words, where its value does not tell; None shows the value.
    parse
        Makes the value of the text that was given; None takes the type of the field.
    check
        Allowed values; None allows all.
    names_files
        Whether the value names files or folders. Published weights store such a value without its folders.
    """

    flag: str | None
    meaning: str = ""
    metavar: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] = ()
    default_text: str | None = None
    parse: Callable[[str], Any] | None = None
    check: Check | None = None
    names_files: bool = False

    @property
    def destination(self) -> str:
        """Attribute of argparse's namespace that holds the value."""
        return (self.flag or "").lstrip("-").replace("-", "_")


def setting(
    default: T,
    flag: str | None = None,
    meaning: str = "",
    *,
    metavar: str | tuple[str, ...] | None = None,
    choices: tuple[str, ...] = (),
    default_text: str | None = None,
    parse: Callable[[str], Any] | None = None,
    check: Check | None = None,
    names_files: bool = False,
) -> T:
    """Make a dataclass field with an `Option`; the parameters are the attributes of that class."""
    option = Option(flag, meaning, metavar, choices, default_text, parse, check, names_files)
    return field(default=default, metadata={METADATA_KEY: option})


def required_setting(flag: str, meaning: str, *, metavar: str, names_files: bool = False) -> Any:
    """Make a dataclass field without a default; its option must be given."""
    return field(metadata={METADATA_KEY: Option(flag, meaning, metavar, names_files=names_files)})


def options_of(settings: Any) -> Iterator[tuple[Field[Any], Option]]:
    """Yield the fields made by `setting` with their options, of a settings class or of an instance."""
    for each in fields(settings):
        if METADATA_KEY in each.metadata:
            yield each, each.metadata[METADATA_KEY]


def require_valid(settings: Any) -> None:
    """Check every field of a settings instance; a value of None means "not given" and passes.

    Raises
    ------
    UserError
        If a value is not allowed; names the flag, or the field where there is no flag.
    """
    for each, option in options_of(settings):
        value = getattr(settings, each.name)
        if option.check is not None and value is not None and not option.check.allows(value):
            raise UserError(f"{option.flag or each.name} {text_of(value)}, expected {option.check.expected}")


def text_of(value: Any) -> str:
    """Write a value as it stands on a command line: 4.0 is ``4``, a tuple is its values with spaces between."""
    if isinstance(value, tuple | list):
        return " ".join(map(text_of, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def each_number(allows: Callable[[float], bool], expected: str) -> Check:
    """Check a number, or each number of a tuple."""
    return Check(lambda value: all(map(allows, value if isinstance(value, tuple) else (value,))), expected)


def at_least(low: int) -> Check:
    """Allow this number and larger ones, infinity included."""
    return each_number(lambda number: number >= low, f"{low} or more")


SHARE = each_number(lambda number: 0 <= number <= 1, "a number from 0 to 1")
SHARE_BELOW_ONE = each_number(lambda number: 0 <= number < 1, "0 or more and less than 1")
FINITE_AT_LEAST_0 = each_number(lambda number: 0 <= number < math.inf, "0 or more")
FINITE_ABOVE_0 = each_number(lambda number: 0 < number < math.inf, "a number above 0")
ABOVE_0 = each_number(lambda number: number > 0, "a number above 0")
RANGE_ABOVE_0 = Check(
    lambda pair: 0 < pair[0] <= pair[1] < math.inf, "a number above 0 and a second one that is not smaller"
)
