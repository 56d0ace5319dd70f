"""The store: every case is brought to the network's grid once, and read by crop from then on.

A case's folder is named by a digest of everything that its content depends on. So cases of several settings and data
sets share one store, a changed file or setting never meets what was prepared before, and a case that is found is right.
"""

from __future__ import annotations

import fcntl
import time
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import DataWarning, UserError, is_out_of_memory
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.isolated import map_isolated
from swfastedit_core.train.data.sources import Source, read_source
from swfastedit_core.train.store.content import arrays_of, files_of, key_of
from swfastedit_core.train.store.digests import Digests
from swfastedit_core.train.store.folders import remove_unfinished
from swfastedit_core.train.store.prepared import Component, PreparedCase, is_whole, open_case, remove_case, write_case

__all__ = ["Component", "PreparedCase", "Store"]

DIGITS = 32  # of a key, in a folder's name: 128 bits
SAVE_EVERY_S = 30.0  # the digests: what a killed run has to read again


class Store:
    """Prepared cases in a folder.

    Parameters
    ----------
    folder
        Made where it is missing. Settings, data sets and runs may share it, also at the same time.
    preprocessing
        Of the network.
    channels
        Of the network; without clicks.

    Raises
    ------
    UserError
        If there are guidance channels among them.
    """

    def __init__(self, folder: Path, preprocessing: Preprocessing, *, channels: Channels) -> None:
        if channels.takes_clicks:
            raise UserError(f"channels {channels.names}, expected pet, or pet and ct")
        self._folder, self._preprocessing, self._channels = folder, preprocessing, channels

    def prepare(
        self, sources: Sequence[Source], *, workers: int, progress: Callable[[str], None] | None = None
    ) -> list[PreparedCase]:
        """Bring cases to the network's grid, those that are not there yet.

        While one run prepares, others with the same folder wait, and then find what it prepared. What a killed run
        left unfinished is removed. Of a case that is damaged nothing is lost: it is prepared anew, without a question.

        Parameters
        ----------
        sources
            What to prepare.
        workers
            Processes; each holds one case in memory at a time.
        progress
            Is given a line for every case that was prepared, or found by reading its files again, since their digests
            were forgotten.

        Returns
        -------
        list of PreparedCase
            In the order of `sources`.

        Raises
        ------
        UserError
            If a case cannot be read, the folder not be written, or memory runs out. What was prepared until then stays.

        Warns
        -----
        DataWarning
            As `read_source`, for cases that are prepared.
        """
        say = progress or _say_nothing
        cases = self._found(sources, Digests.load(self._digests_file))
        if len(cases) < len(sources):
            with self._alone(say):
                digests = Digests.load(self._digests_file)
                cases = self._found(sources, digests)
                if cases:
                    say(f"{len(cases)} of {len(sources)} cases were prepared before")
                for index, case, done in self._made(sources, set(cases), digests, workers):
                    cases[index] = case
                    voxels = "×".join(map(str, case.shape))
                    say(f"{done} {case.name}: {voxels}, lesions: {len(case.components)}; {len(cases)}/{len(sources)}")
        return [cases[index] for index in range(len(sources))]

    def contents(self, sources: Sequence[Source]) -> list[str]:
        """Return a digest of each case as it would be prepared, without preparing it.

        Files are read for it where their digests are not known yet.

        Raises
        ------
        UserError
            If a file cannot be read.
        """
        digests = Digests.load(self._digests_file)
        try:
            keys = [key_of(source, self._preprocessing, self._channels, digest_of=digests.of) for source in sources]
        finally:
            digests.save(self._digests_file)
        return [key[:DIGITS] for key in keys if key]

    @property
    def _digests_file(self) -> Path:
        return self._folder / "digests.json"

    def _found(self, sources: Sequence[Source], digests: Digests) -> dict[int, PreparedCase]:
        """Return the cases that are there, by their place; no large file is read."""
        keys = [key_of(source, self._preprocessing, self._channels, digest_of=digests.recall) for source in sources]
        return {
            index: self._opened(key, sources[index])
            for index, key in enumerate(keys)
            if key and is_whole(self._folder_of(key), key=key, digest_of=digests.recall)
        }

    def _made(
        self, sources: Sequence[Source], known: Container[int], digests: Digests, workers: int
    ) -> Iterator[tuple[int, PreparedCase, str]]:
        """Prepare the other cases; yield place, case and what was done as they come."""
        missing = [index for index in range(len(sources)) if index not in known]
        jobs = [_Job(sources[i], digests.about(files_of(sources[i], self._channels).values())) for i in missing]
        saved = time.monotonic()
        try:
            for place, made in map_isolated(self._make, jobs, workers=workers):
                source = sources[missing[place]]
                if made is None:
                    raise _too_little_memory(source)
                digests.add(made.digests)
                for text in made.warnings:
                    warnings.warn(DataWarning(text), stacklevel=3)
                yield missing[place], self._opened(made.key, source), "prepared" if made.anew else "found"
                if time.monotonic() - saved > SAVE_EVERY_S:
                    digests.save(self._digests_file)
                    saved = time.monotonic()
        finally:  # what was read need not be read again, however this ends
            digests.save(self._digests_file)

    def _make(self, job: _Job) -> _Made:
        """Prepare a case, in a process of its own."""
        source, digests = job.source, job.digests
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            try:
                key, anew = self._write(source, digests)
            except (MemoryError, RuntimeError) as error:
                raise _too_little_memory(source) if is_out_of_memory(error) else error from error
        texts = tuple(str(entry.message) for entry in caught if issubclass(entry.category, DataWarning))
        return _Made(key, anew=anew, digests=digests, warnings=texts)

    def _write(self, source: Source, digests: Digests) -> tuple[str, bool]:
        """Write a case unless it is there; return its key, and whether it was written."""
        key = key_of(source, self._preprocessing, self._channels, digest_of=digests.of)
        assert key
        folder = self._folder_of(key)
        if is_whole(folder, key=key, digest_of=digests.of):
            return key, False
        scan = read_source(source, with_ct=self._channels.takes_ct)
        if key_of(source, self._preprocessing, self._channels, digest_of=digests.recall) != key:
            raise UserError(f"{source.case}: a file of it changed while it was read; start again when it is complete")
        arrays = arrays_of(scan, self._preprocessing, self._channels)
        remove_case(folder)  # a damaged one
        # Where another process prepares the same content, a case that is in two data sets, the first one's is kept.
        write_case(folder, arrays, key=key, name=source.case, channels=self._channels)
        if not is_whole(folder, key=key, digest_of=digests.of):
            raise UserError(f"{folder}: what was written there reads differently; is the disk full, or failing?")
        return key, True

    def _opened(self, key: str, source: Source) -> PreparedCase:
        return open_case(self._folder_of(key), name=source.case, patient=source.patient, group=source.group)

    def _folder_of(self, key: str) -> Path:
        return self._folder / key[:DIGITS]

    @contextmanager
    def _alone(self, say: Callable[[str], None]) -> Iterator[None]:
        """Let other runs wait that want to prepare here, and remove what dead ones left unfinished."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / "lock").open("w")
        except OSError as error:
            raise UserError(
                f"{self._folder}: cases cannot be prepared there ({error.strerror}); choose another"
            ) from error
        with file:
            if _locked(file, say, self._folder):
                remove_unfinished(self._folder)
            yield


@dataclass(frozen=True)
class _Job:
    """A case to prepare, and what is known of its files."""

    source: Source
    digests: Digests


@dataclass(frozen=True)
class _Made:
    """The key of a case, whether it was not there, what is known of its files now, and what warnings there were."""

    key: str
    anew: bool
    digests: Digests
    warnings: tuple[str, ...]


def _locked(file: TextIO, say: Callable[[str], None], folder: Path) -> bool:
    """Wait until no other process holds the file, and hold it until it is closed or this process dies.

    Returns
    -------
    bool
        False where the file system has no locks. Two runs may prepare the same case there: the last one stays.
    """
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run prepares cases in {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _too_little_memory(source: Source) -> UserError:
    return UserError(
        f"{source.case}: the process that prepared it ran out of memory or was killed; use fewer --preparers"
    )


def _say_nothing(_: str) -> None:
    pass
