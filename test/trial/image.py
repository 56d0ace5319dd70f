"""The image and the checks that the platform makes at its upload. This module needs the standard library only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

API_METHOD = "org.grand-challenge.api-method"
API_METHODS = ("exec", "invoke")
PLATFORM = "linux/amd64"
USER = re.compile(r"[0-9a-zA-Z]*:?[0-9a-zA-Z]*")  # the platform's own pattern: it refuses my-user and my_user
LABELS = ("title", "version", "revision", "licenses", "source")
MAY_BE_UNKNOWN = ("revision", "source")  # a build outside a git clone has no revision, a clone without remote no source


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes
    ----------
    name
        What was checked, as the table prints it.
    passed
        Whether the check passed.
    found
        What was found and, if the check failed, what was expected.
    """

    name: str
    passed: bool
    found: str = ""


@dataclass(frozen=True)
class Image:
    """The configuration of an image.

    Attributes
    ----------
    name
        The name that the engine knows; empty for an image in an archive.
    user
        As in the Dockerfile, such as ``10001:10001``; empty if not set.
    architecture
        System and processor, such as ``linux/amd64``.
    labels, environment
        Values by name.
    entrypoint, command
        Words of the command line.
    """

    name: str
    user: str
    architecture: str
    labels: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]

    @classmethod
    def from_config(cls, name: str, architecture: str, config: Mapping[str, Any]) -> Image:
        """Read the configuration in Docker's form; every part of it may be missing or null."""
        return cls(
            name,
            user=str(config.get("User") or ""),
            architecture=architecture,
            labels=config.get("Labels") or {},
            entrypoint=config.get("Entrypoint") or [],
            command=config.get("Cmd") or [],
            environment=dict(item.split("=", 1) for item in config.get("Env") or []),
        )

    @property
    def api_method(self) -> str:
        """How the platform starts the image: ``exec`` or ``invoke``."""
        return self.labels.get(API_METHOD, "exec")

    @property
    def options(self) -> list[str]:
        """The options of process.py in the image; empty if they are not a valid command line."""
        try:
            return shlex.split(self.environment.get("SWFASTEDIT_OPTIONS", ""))
        except ValueError:
            return []

    def option(self, name: str, *more: str) -> str | None:
        """Return the value of an option of process.py, the last one if it is repeated; None without it.

        `more` are words of a command line after the options of the image.
        """
        words = [*self.options, *more]
        values = [(place, b) for place, (a, b) in enumerate(pairwise(words)) if a == name]
        values += [(place, a.removeprefix(f"{name}=")) for place, a in enumerate(words) if a.startswith(f"{name}=")]
        return max(values)[1] if values else None

    def program(self, arguments: Sequence[str] = ()) -> list[str]:
        """Return the command line of a container with these arguments; without arguments the image's own command."""
        return [*self.entrypoint, *(arguments or self.command)]


def check_config(image: Image) -> list[Check]:
    """Check what the platform checks at the upload, and the labels that name the image's origin."""
    return [
        _check_user(image.user),
        _check_choice("image architecture", image.architecture, (PLATFORM,)),
        _check_choice("image api-method", image.api_method, API_METHODS),
        Check("image entrypoint", bool(image.program()), " ".join(image.program()) or "none, and no command"),
        _check_options(image),
        _check_labels(image.labels),
    ]


def _check_user(user: str) -> Check:
    if user.split(":")[0].lstrip("0") in ("", "root"):
        return Check("image user", False, f"{user or 'not set'}, expected one that is not root")
    if not USER.fullmatch(user):
        return Check("image user", False, f"{user}, expected letters and digits only, as in 10001:10001")
    return Check("image user", True, user)


def _check_options(image: Image) -> Check:
    """Check that the program answers calls in the way that the label tells the platform."""
    words, method = " ".join(image.options) or "none", image.option("--api-method") or API_METHODS[0]
    if image.api_method in API_METHODS and method != image.api_method:
        return Check("image options", False, f"{words}, expected --api-method {image.api_method} as in the label")
    return Check("image options", True, words)


def _check_labels(labels: Mapping[str, str]) -> Check:
    values = {name: labels.get(f"org.opencontainers.image.{name}", "") for name in LABELS}
    missing = [
        name for name, value in values.items() if not value or (value == "unknown" and name not in MAY_BE_UNKNOWN)
    ]
    if missing:
        return Check("image labels", False, f"no org.opencontainers.image.{', '.join(missing)}: build with ./build.sh")
    return Check("image labels", True, ", ".join(f"{name} {value}" for name, value in values.items()))


def _check_choice(name: str, found: str, choices: Sequence[str]) -> Check:
    passed = found in choices
    return Check(name, passed, found if passed else f"{found}, expected {' or '.join(choices)}")
