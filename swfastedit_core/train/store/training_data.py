"""The data of a run: find the cases, survey them, split them by patient, prepare them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.train.data.channels import ChannelNumbers
from swfastedit_core.train.data.duplicates import remark_duplicates, require_apart
from swfastedit_core.train.data.findings import Finding, table, usable
from swfastedit_core.train.data.label_values import remark_rare_values
from swfastedit_core.train.data.layouts import Search
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import Source, find_sources
from swfastedit_core.train.data.splits import Split, name_of_split, split
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
    sets
        All cases of both sets, usable or not.
    training, held_out
        The usable cases of both sets.
    cases
        `training`, prepared.
    held_out_content
        Digests of `held_out`.
    """

    sets: Split
    training: list[Source]
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
    sets, (training, held_out) = _split(data, config, folder, workers=workers, say=say)
    prepared = Store(store, config.preprocessing, channels=config.channels.images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the table shows them already
        cases = prepared.prepare(training, workers=workers, progress=say)
    return Data(sets, training, held_out, cases, prepared.contents(held_out))


def find_all_sources(data: DataSettings, *, remark: Say) -> list[Source]:
    """List the cases of all data sets, with and without label.

    Parameters
    ----------
    data
        The data sets.
    remark
        Called with a sentence if the content of files decided what they are.

    Raises
    ------
    UserError
        As `find_sources`.
    """
    search = Search(ChannelNumbers(data.pet_channel, data.ct_channel), data.geometry, remark)
    return [
        source
        for spec in data.specs
        for source in find_sources(
            spec, seed=data.seed, lesion_labels=data.lesion_labels, patient=data.patient, search=search
        )
    ]


def survey_data(
    data: DataSettings, *, spacing_mm: Spacing, with_ct: bool, workers: int, say: Say, cache: Path | None = None
) -> tuple[list[Source], dict[Source, Finding]]:
    """Find and survey the cases of all data sets, and print a table.

    Returns
    -------
    sources : list of Source
        All cases.
    usable : dict
        The cases that can be used, with their findings.

    Raises
    ------
    UserError
        If a data set has another layout, or cases cannot be used and may not be left out.
    """
    remarks: list[str] = []
    sources = find_all_sources(data, remark=remarks.append)
    findings = survey(sources, spacing_mm=spacing_mm, with_ct=with_ct, workers=workers, cache=cache, progress=say)
    findings = remark_duplicates(remark_rare_values(findings))
    say("\n".join([table(findings), *(f"remark: {text}" for text in remarks)]))
    good = set(usable(sources, findings, skip=data.skip_bad))
    return sources, {source: finding for source, finding in zip(sources, findings, strict=True) if source in good}


def _split(
    data: DataSettings, config: CheckpointConfig, folder: Path, *, workers: int, say: Say
) -> tuple[Split, Split]:
    """Find, survey and split the cases; return both sets, with all cases and with the usable ones."""
    sources, good = survey_data(
        data,
        spacing_mm=config.preprocessing.spacing_mm,
        with_ct=config.channels.takes_ct,
        workers=workers,
        cache=folder / SURVEY,
        say=say,
    )
    sets = split(sources, fold=data.fold, split_file=data.split_file)  # of all cases, unusable ones included
    training, held_out = ([source for source in cases if source in good] for cases in sets)
    if sets[1] and not held_out:
        raise UserError(f"none of the {len(sets[1])} held-out cases can be used; fix them, or hold out other cases")
    name = name_of_split(fold=data.fold, split_file=data.split_file)
    require_apart(training, held_out, good, where=name)
    groups = {source.group for source in training}
    unused = next((spec for spec in data.specs if spec not in groups), None)
    if not training or (data.shares and unused):
        raise UserError(f"{unused}: no case of it is in the training set; leave it out, or hold out fewer cases")
    count = f"{len(training)} {'case' if len(training) == 1 else 'cases'}"
    say(f"{count} to learn from, {len(held_out)} held out, listed in {folder / SPLIT}")
    if data.fold is not None and data.split_file is None and _is_uneven(sets, data.fold[1]):
        say(
            "remark: the folds have different sizes, because the fold of a patient depends only on the name; with few "
            "patients, use your own split with --split"
        )
    return sets, (training, held_out)


def _is_uneven(sets: Split, folds: int) -> bool:
    """Whether the share of held-out patients is far from one fold."""
    training, held_out = ({source.patient for source in cases if source.phantom_seed is None} for cases in sets)
    total = len(training) + len(held_out)
    return total > 0 and abs(len(held_out) / total - 1 / folds) > UNEVEN
