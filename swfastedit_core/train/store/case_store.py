"""The store: every case is prepared on the network's grid once, and its crops are read from disk afterwards.

The folder of a case is named by a digest of everything that its content depends on. So several settings and data sets
can share a store, and a case in the store is never outdated.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import DataWarning, UserError, is_out_of_memory
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.isolated import map_isolated
from swfastedit_core.train.data.sources import Source, read_source
from swfastedit_core.train.store.arrays import arrays_of, files_of, key_of
from swfastedit_core.train.store.atomic_folder import remove_unfinished
from swfastedit_core.train.store.case_writer import is_whole, remove_case, write_case
from swfastedit_core.train.store.digests import Digests
from swfastedit_core.train.store.folder_lock import locked_folder
from swfastedit_core.train.store.prepared_case import Component, PreparedCase, open_case

__all__ = ["Component", "PreparedCase", "Store"]

DIGITS = 32  # of a key in a folder's name: 128 bits
SAVE_EVERY_S = 30.0  # digests are saved; a killed run has to read at most this much again


class Store:
    """Prepared cases in a folder.

    Parameters
    ----------
    folder
        It is made if it is missing. Settings, data sets and runs may share it, even at the same time.
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
        """Prepare the cases that are not in the store yet.

        While one run prepares, others with the same folder wait, and then use its cases. Unfinished cases of killed
        runs are removed. A damaged case is prepared again.

        Parameters
        ----------
        sources
            The cases.
        workers
            Number of processes. Each holds one case in memory at a time.
        progress
            Called with a line for every case that was prepared, or whose files were read again to find it in the store.

        Returns
        -------
        list of PreparedCase
            In the order of `sources`.

        Raises
        ------
        UserError
            If a case cannot be read, the folder cannot be written, or memory runs out. Cases prepared so far are kept.

        Warns
        -----
        DataWarning
            As `read_source`, for cases that are prepared.
        """
        say = progress or _say_nothing
        cases = self._existing(sources, Digests.load(self._digests_file))
        if len(cases) < len(sources):
            with locked_folder(self._folder, say=say) as is_locked:
                if is_locked:
                    remove_unfinished(self._folder)  # cases of killed runs
                digests = Digests.load(self._digests_file)
                cases = self._existing(sources, digests)
                if cases:
                    say(f"{len(cases)} of {len(sources)} cases were prepared before")
                for index, case, done in self._prepare_missing(sources, set(cases), digests, workers):
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

    def _existing(self, sources: Sequence[Source], digests: Digests) -> dict[int, PreparedCase]:
        """Return the cases that are in the store, by their index; no large file is read."""
        keys = [key_of(source, self._preprocessing, self._channels, digest_of=digests.recall) for source in sources]
        return {
            index: self._opened(key, sources[index])
            for index, key in enumerate(keys)
            if key and is_whole(self._folder_of(key), key=key, digest_of=digests.recall)
        }

    def _prepare_missing(
        self, sources: Sequence[Source], known: Container[int], digests: Digests, workers: int
    ) -> Iterator[tuple[int, PreparedCase, str]]:
        """Prepare the other cases; yield index, case and "prepared" or "found" as they are done."""
        missing = [index for index in range(len(sources)) if index not in known]
        jobs = [_Job(sources[i], digests.about(files_of(sources[i], self._channels).values())) for i in missing]
        saved = time.monotonic()
        try:
            for index, result in map_isolated(self._prepare, jobs, workers=workers):
                source = sources[missing[index]]
                if result is None:
                    raise _too_little_memory(source)
                digests.add(result.digests)
                for text in result.warnings:
                    warnings.warn(DataWarning(text), stacklevel=3)
                yield missing[index], self._opened(result.key, source), "prepared" if result.written else "found"
                if time.monotonic() - saved > SAVE_EVERY_S:
                    digests.save(self._digests_file)
                    saved = time.monotonic()
        finally:  # digests are kept, even if the preparation is interrupted
            digests.save(self._digests_file)

    def _prepare(self, job: _Job) -> _Result:
        """Prepare a case, in a process of its own."""
        source, digests = job.source, job.digests
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            try:
                key, written = self._write(source, digests)
            except (MemoryError, RuntimeError) as error:
                raise _too_little_memory(source) if is_out_of_memory(error) else error from error
        texts = tuple(str(entry.message) for entry in caught if issubclass(entry.category, DataWarning))
        return _Result(key, written=written, digests=digests, warnings=texts)

    def _write(self, source: Source, digests: Digests) -> tuple[str, bool]:
        """Write a case unless it is there; return its key, and whether it was written."""
        key = key_of(source, self._preprocessing, self._channels, digest_of=digests.of)
        assert key
        folder = self._folder_of(key)
        if is_whole(folder, key=key, digest_of=digests.of):
            return key, False
        scan = read_source(source, with_ct=self._channels.takes_ct)
        if key_of(source, self._preprocessing, self._channels, digest_of=digests.recall) != key:
            raise UserError(f"{source.case}: a file changed while it was read; start again when it is complete")
        arrays = arrays_of(scan, self._preprocessing, self._channels)
        remove_case(folder)  # a damaged one
        # Another process may prepare the same content, if a case is in two data sets; the first one is kept.
        write_case(folder, arrays, key=key, name=source.case, channels=self._channels)
        if not is_whole(folder, key=key, digest_of=digests.of):
            raise UserError(f"{folder}: the written case reads differently; is the disk full or failing?")
        return key, True

    def _opened(self, key: str, source: Source) -> PreparedCase:
        return open_case(self._folder_of(key), name=source.case, patient=source.patient, group=source.group)

    def _folder_of(self, key: str) -> Path:
        return self._folder / key[:DIGITS]


@dataclass(frozen=True)
class _Job:
    """A case to prepare, and the known digests of its files."""

    source: Source
    digests: Digests


@dataclass(frozen=True)
class _Result:
    """The key of a case, whether it was written, the digests of its files, and the warnings about it."""

    key: str
    written: bool
    digests: Digests
    warnings: tuple[str, ...]


def _too_little_memory(source: Source) -> UserError:
    return UserError(
        f"{source.case}: the process that prepared it ran out of memory or was killed; use fewer --preparers"
    )


def _say_nothing(_: str) -> None:
    pass
