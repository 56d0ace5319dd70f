"""Click encodings by their names, on command lines and in a checkpoint's header."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from swfastedit_core.click_encodings import ClickEncoding, DiscEncoding, GaussianEncoding, GradedBallEncoding

ENCODINGS: dict[str, type[ClickEncoding]] = {
    "disc": DiscEncoding,
    "graded-ball": GradedBallEncoding,
    "gaussian": GaussianEncoding,
}


def name_of_encoding(encoding: ClickEncoding) -> str:
    """Return the name of a click encoding in headers and on command lines."""
    return next(name for name, kind in ENCODINGS.items() if isinstance(encoding, kind))


def make_encoding(name: str, size: float | None = None) -> ClickEncoding:
    """Return a click encoding by its name; the size is its sigma or radius in voxels, None its default.

    Raises
    ------
    UserError
        If the size is out of range.
    """
    kind = ENCODINGS[name]
    if size is None:
        return kind()
    if kind is GradedBallEncoding and float(size).is_integer():
        return GradedBallEncoding(int(size))
    return kind(size)  # type: ignore[arg-type]  # a ball of a broken radius is refused


def encoding_to_json(encoding: ClickEncoding) -> dict[str, Any]:
    """Return an encoding's name and size, as a header holds them."""
    return {"kind": name_of_encoding(encoding), **asdict(encoding)}


def encoding_from_json(plain: dict[str, Any]) -> ClickEncoding:
    """Read what `encoding_to_json` returned.

    Raises
    ------
    UserError
        If the size is out of range.
    ValueError, KeyError, TypeError
        If it is something else.
    """
    settings = dict(plain)
    kind = ENCODINGS[settings.pop("kind")]
    for name, value in settings.items():
        if type(value) not in (int, float):
            raise TypeError(f"{name} {value!r} of clicks, expected a number")
    return kind(**settings)
