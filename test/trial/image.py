"""What the platform asks of an image before it runs it; the standard library is enough to tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

API_METHOD = "org.grand-challenge.api-method"
API_METHODS = ("exec", "invoke")
PLATFORM = "linux/amd64"
USER = re.compile(r"[0-9a-zA-Z]*:?[0-9a-zA-Z]*")  # the platform's own pattern: no my-user, no my_user
LABELS = ("title", "version", "revision", "licenses", "source")
MAY_BE_UNKNOWN = ("revision", "source")  # of a build outside a git clone, or of a clone without a remote


@dataclass(frozen=True)
class Check:
    """A name, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str = ""


@dataclass(frozen=True)
class Image:
    """What an engine, or an archive, says of an image."""

    name: str
    user: str
    architecture: str
    labels: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]

    @classmethod
    def of(cls, name: str, architecture: str, config: Mapping[str, Any]) -> Image:
        """Take over an image's configuration, whose parts may be missing or null."""
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
        """How the platform starts it."""
        return self.labels.get(API_METHOD, "exec")

    @property
    def options(self) -> list[str]:
        """The options of process.py that are baked into the image; none where it could not read them either."""
        try:
            return shlex.split(self.environment.get("SWFASTEDIT_OPTIONS", ""))
        except ValueError:
            return []

    def program(self, arguments: Sequence[str] = ()) -> list[str]:
        """Return the command line that its start runs."""
        return [*self.entrypoint, *(arguments or self.command)]


def judge_config(image: Image) -> list[Check]:
    """Look at what the upload looks at, and at the labels that say where an image comes from."""
    return [
        _judge_user(image.user),
        _expected("image architecture", image.architecture, (PLATFORM,)),
        _expected("image api-method", image.api_method, API_METHODS),
        Check("image entrypoint", bool(image.program()), " ".join(image.program()) or "none, and no command"),
        _judge_labels(image.labels),
    ]


def _judge_user(user: str) -> Check:
    if user.split(":")[0].lstrip("0") in ("", "root"):
        return Check("image user", False, f"{user or 'not set'}, expected one that is not root")
    if not USER.fullmatch(user):
        return Check("image user", False, f"{user}, expected letters and digits only, as in 10001:10001")
    return Check("image user", True, user)


def _judge_labels(labels: Mapping[str, str]) -> Check:
    values = {name: labels.get(f"org.opencontainers.image.{name}", "") for name in LABELS}
    missing = [name for name, value in values.items() if value in ("", *_not_told(name))]
    if missing:
        return Check("image labels", False, f"no org.opencontainers.image.{', '.join(missing)}: build with ./build.sh")
    return Check("image labels", True, ", ".join(f"{name} {value}" for name, value in values.items()))


def _not_told(name: str) -> tuple[str, ...]:
    return () if name in MAY_BE_UNKNOWN else ("unknown",)


def _expected(name: str, found: str, wanted: Sequence[str]) -> Check:
    return Check(name, found in wanted, found if found in wanted else f"{found}, expected {' or '.join(wanted)}")
