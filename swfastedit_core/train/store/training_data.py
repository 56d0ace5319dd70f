"""The data of a run: found, surveyed, split by patient, prepared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.train.data.findings import table, usable
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import Source, find_sources
from swfastedit_core.train.data.splits import Split, split
from swfastedit_core.train.data.survey import Spacing, survey
from swfastedit_core.train.store.case_store import PreparedCase, Store

SPLIT, SURVEY = "split.json", "survey.json"
UNEVEN = 0.1  # tolerance for the share of patients that a fold holds out

Say = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """Training set and validation set of a run.

    Attributes
    ----------
    sides
        All cases of both sets, usable or not.
    learn, held_out
        The usable cases of both sets.
    cases
        `learn`, prepared.
    held_out_content
        Digests of `held_out`.
    """

    sides: Split
    learn: list[Source]
    held_out: list[Source]
    cases: list[PreparedCase]
    held_out_content: list[str]


def gather(data: DataSettings, config: CheckpointConfig, folder: Path, *, store: Path, workers: int, say: Say) -> Data:
    """Find the cases, survey them, split them by patient, and prepare the training set.

    Parameters
    ----------
    data
        Data sets and split.
    config
        The network's preprocessing and channels.
    folder
        Folder of the run; it keeps the findings of the survey.
    store
        Folder of the prepared cases.
    workers
        Number of processes that survey and prepare.
    say
        Called with lines for the user.

    Raises
    ------
    UserError
        If a data set has another layout, cases cannot be used and may not be left out, or a case cannot be prepared.
    """
    sides, (learn, held_out) = _split(data, config, folder, workers=workers, say=say)
    prepared = Store(store, config.preprocessing, channels=config.channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the table shows them already
        cases = prepared.prepare(learn, workers=workers, progress=say)
    return Data(sides, learn, held_out, cases, prepared.contents(held_out))


def survey_data(
    data: DataSettings, *, spacing_mm: Spacing, with_ct: bool, workers: int, say: Say, cache: Path | None = None
) -> tuple[list[Source], set[Source]]:
    """Find and survey the cases of all data sets, and print a table.

    Returns
    -------
    found : list of Source
        All of them.
    good : set of Source
        Those that can be used.

    Raises
    ------
    UserError
        If a data set has another layout, or cases cannot be used and may not be left out.
    """
    found = [
        source for spec in data.specs for source in find_sources(spec, seed=data.seed, lesion_labels=data.lesion_labels)
    ]
    findings = survey(found, spacing_mm=spacing_mm, with_ct=with_ct, workers=workers, cache=cache, progress=say)
    say(table(findings))
    return found, set(usable(found, findings, skip=data.skip_bad))


def _split(
    data: DataSettings, config: CheckpointConfig, folder: Path, *, workers: int, say: Say
) -> tuple[Split, Split]:
    """Find, survey and split the cases; return both sets, with all cases and with the usable ones."""
    found, good = survey_data(
        data,
        spacing_mm=config.preprocessing.spacing_mm,
        with_ct=config.channels.takes_ct,
        workers=workers,
        cache=folder / SURVEY,
        say=say,
    )
    sides = split(found, fold=data.fold, split_file=data.split_file)  # of all cases, bad ones included
    learn, held_out = ([source for source in side if source in good] for side in sides)
    if sides[1] and not held_out:
        raise UserError(f"none of the {len(sides[1])} held-out cases can be used; mend them, or hold out others")
    learned = {source.group for source in learn}
    unused = next((spec for spec in data.specs if spec not in learned), None)
    if not learn or (data.shares and unused):
        raise UserError(f"{unused}: no case of it is left to learn from; leave it out, or hold out less")
    cases = f"{len(learn)} {'case' if len(learn) == 1 else 'cases'}"
    say(f"{cases} to learn from, {len(held_out)} held out, listed in {folder / SPLIT}")
    if data.fold is not None and data.split_file is None and _is_uneven(sides, data.fold[1]):
        say(
            "remark: the folds are uneven, since the fold of a patient depends on the name alone; with few patients, "
            "give a split of your own with --split"
        )
    return sides, (learn, held_out)


def _is_uneven(sides: Split, folds: int) -> bool:
    """Whether the share of held-out patients is far from one fold."""
    learn, held_out = ({source.patient for source in side if source.phantom_seed is None} for side in sides)
    everyone = len(learn) + len(held_out)
    return everyone > 0 and abs(len(held_out) / everyone - 1 / folds) > UNEVEN
