"""Work through the cases of data sets; results are kept, so that an interrupted evaluation goes on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

import numpy as np

from swfastedit_core.challenge.cases import FileId, file_id, require_memory_for, require_replaceable
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.evaluate.cohort import S, ScoredCase
from swfastedit_core.evaluate.named_sources import NamedSource
from swfastedit_core.evaluate.stored_results import StoredResults
from swfastedit_core.files.geometry import read_geometry
from swfastedit_core.system.command import Stopped, attempt
from swfastedit_core.train.data.label_values import doubts_about_label
from swfastedit_core.train.data.sources import Scan, Source, read_source
from swfastedit_core.train.data.survey import problem_of_values

GO_ON = "the same command goes on with the others"


@dataclass(kw_only=True)
class Outcome(Generic[S]):
    """The results of the cases, in their order, and the cases whose data cannot be used."""

    results: list[ScoredCase[S]] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Work(Generic[S]):
    """What is done with each case.

    Attributes
    ----------
    score
        Returns the scores of a case. Its scan is in a list, which `score` empties: the voxels can then be released when
        they are not needed any more.
    describe
        Returns the most important scores in a few words.
    depends_on
        Values for JSON on which the scores of a case depend, besides the case, the networks and the options.
    keep
        Whether scores are stored; others are made again by the next run.
    overwrite
        Whether a mask may replace a file that is not a mask of this program.
    quiet
        Print no progress.
    """

    score: Callable[[NamedSource, list[Scan]], S]
    describe: Callable[[S], str]
    depends_on: Callable[[NamedSource], Sequence[object]] = lambda _: ()
    keep: Callable[[S], bool] = lambda _: True
    overwrite: bool = False
    quiet: bool = False


def run_cases(
    cases: Sequence[NamedSource],
    networks: Ensemble,
    work: Work[S],
    *,
    stored: StoredResults[S],
    say: Callable[[str], None],
) -> Outcome[S]:
    """Work through cases one after the other; each result is stored as soon as it exists.

    A case that fails does not stop the others. One case at a time is in memory.

    Parameters
    ----------
    cases
        From `name_sources`.
    networks
        From `load_networks`.
    work
        What is done with each case.
    stored
        Results that exist already, under the same settings; new ones are added.
    say
        Takes lines for the user.

    Returns
    -------
    Outcome
        A result for each case.

    Raises
    ------
    UserError
        If a result cannot be stored.
    """
    known = {case.name: stored.read(case.name, _key(case, work, stored), case.mask) for case in cases}
    done = sum(result is not None for result in known.values())
    if done and not work.quiet:
        say(f"{done} of {len(cases)} cases are done already")
    stale = sum(result is None and stored.exists(name) for name, result in known.items())
    if stale and not work.quiet:
        say(f"{stale} earlier results are not used: their weights, options or files were others")
    scans = {file_id(path) for case in cases for path in _files(case.source)}
    outcome = Outcome[S]()
    try:
        for case in cases:
            result = known[case.name]
            if result is None:
                result, usable = _run(case, networks, work, stored=stored, scans=scans)
                done += not result.problem
                if not work.quiet:
                    say(f"{done} of {len(cases)} cases done; {_describe(result, work)}")
                if result.remark:
                    say(f"warning: {case.name}: {result.remark}")
                if not usable:
                    outcome.unusable.append(case.name)
            outcome.results.append(result)
    except (KeyboardInterrupt, Stopped) as stopped:
        stopped.add_note(f"{done} of {len(cases)} cases are done; {GO_ON}")
        raise
    return outcome


def _key(case: NamedSource, work: Work[S], stored: StoredResults[S]) -> str:
    return stored.key(case.source, *work.depends_on(case))


def _run(
    case: NamedSource, networks: Ensemble, work: Work[S], *, stored: StoredResults[S], scans: set[FileId | None]
) -> tuple[ScoredCase[S], bool]:
    """Return the result of a case, and whether its data can be used; store the result if there is no problem."""
    key, begin = _key(case, work, stored), time.perf_counter()
    scans_read: list[Scan] = []
    scores: list[S] = []

    def check() -> None:
        if case.mask is not None:
            require_replaceable(case.mask, scans=scans, overwrite=work.overwrite)

    def read() -> None:
        scans_read.append(_read(case.source, networks))

    def score() -> None:
        scores.append(work.score(case, scans_read))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        unwritable = attempt(check)
        unreadable = None if unwritable else attempt(read)
        failure = unwritable or unreadable
        doubts = [] if failure else _doubts(scans_read[0], case.source)
        failure = failure or attempt(score)
    if failure:
        return ScoredCase[S](case=case.name, problem=failure.reason), unreadable is None or not unreadable.expected
    remarks = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    result = ScoredCase[S](
        case=case.name,
        scores=scores[0],
        remark="; ".join(dict.fromkeys(" ".join(text.split()) for text in [*remarks, *doubts])),
        seconds=time.perf_counter() - begin,
    )
    if work.keep(scores[0]):
        stored.write(result, key, case.mask)
    return result, True


def _read(source: Source, networks: Ensemble) -> Scan:
    """Read a case as training does; refuse a PET without an image, or one that is a CT."""
    if source.pet is not None:
        require_memory_for(read_geometry(source.pet, form=source.form), networks, source=str(source.pet))
    scan = read_source(source, with_ct=networks.ct_network is not None)
    if problem := problem_of_values(scan, source):
        raise UserError(problem)
    return scan


def _doubts(scan: Scan, source: Source) -> list[str]:
    """Say what speaks against the label."""
    label, values = scan.label.array_zyx, scan.label_values
    doubts = doubts_about_label(values, lesion_share=float(np.count_nonzero(label) / label.size))
    if values and source.lesion_labels and not set(values) & set(source.lesion_labels):
        doubts.append(f"the label has no voxel with a lesion value, only {', '.join(map(str, values[:10]))}")
    return doubts


def _describe(result: ScoredCase[S], work: Work[S]) -> str:
    """Return the most important scores of a case in a line; of a case without scores, the problem."""
    if result.scores is None:
        return f"{result.case}: {result.problem}"
    return f"{result.case}: {work.describe(result.scores)}, {result.seconds:.1f} s"


def _files(source: Source) -> list[Path]:
    return [path for path in (source.pet, source.label, source.ct) if path is not None]
