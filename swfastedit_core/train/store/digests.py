"""Digests of files, stored so that a large data set is read for them once and not at every start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing


class Entry(NamedTuple):
    """The state of a file when it was read; while size and time are the same, so is the digest."""

    size: int
    mtime_ns: int
    sha256: str


class Digests:
    """SHA-256 of files, read again only where size or time of modification changed.

    Plain values, fit for another process.
    """

    def __init__(self) -> None:
        self.changed = False  # since loaded or saved
        self._entries: dict[str, Entry] = {}

    @classmethod
    def load(cls, file: Path) -> Digests:
        """Read the digests that `save` wrote; none where the file is missing or damaged."""
        digests = cls()
        try:
            entries = json.loads(file.read_bytes())
            digests._entries = {
                str(path): Entry(int(size), int(time), str(sha)) for path, (size, time, sha) in entries.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            pass
        return digests

    def save(self, file: Path) -> None:
        """Write the digests, if there are new ones.

        Raises
        ------
        UserError
            If the file cannot be written.
        """
        if not self.changed:
            return
        try:
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(self._entries))
        except OSError as error:
            raise UserError(f"{file}: cannot be written ({error.strerror}); free some space") from error
        self.changed = False

    def recall(self, path: Path) -> str | None:
        """Return the digest if it is known, and size and time of the file have not changed; else None."""
        entry = self._entries.get(_name(path))
        try:
            same = entry is not None and entry[:2] == _state(path)
        except OSError:
            return None
        return entry.sha256 if entry and same else None

    def of(self, path: Path) -> str:
        """Return the digest; read the file if it is not known.

        Raises
        ------
        UserError
            If the file cannot be read, or is written to meanwhile.
        """
        known = self.recall(path)
        if known:
            return known
        try:
            before = _state(path)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            after = _state(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        if before != after:
            raise UserError(f"{path}: changed while it was read; start again when it is complete")
        self._entries[_name(path)] = Entry(*before, sha256)
        self.changed = True
        return sha256

    def about(self, paths: Iterable[Path]) -> Digests:
        """Return the known digests of some files."""
        some = Digests()
        some._entries = {name: self._entries[name] for name in map(_name, paths) if name in self._entries}
        return some

    def add(self, others: Digests) -> None:
        """Add the digests of another process."""
        self.changed |= others.changed
        self._entries |= others._entries


def _name(path: Path) -> str:
    return str(path.resolve())


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
