"""A run's data: found, looked at, parted by patient, prepared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.train.data.findings import table, usable
from swfastedit_core.train.data.sources import Source, find_sources
from swfastedit_core.train.data.splits import Split, split
from swfastedit_core.train.data.survey import Spacing, survey
from swfastedit_core.train.run.settings import DataSettings, RunSettings
from swfastedit_core.train.store.case_store import PreparedCase, Store

SPLIT, SURVEY = "split.json", "survey.json"
UNEVEN = 0.1  # share of the patients that a fold may be off

Say = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """What a run learns from and is judged by.

    Attributes
    ----------
    sides
        All that was found, by who is learned from and who is held out.
    learn, held_out
        Those of them that can be used, in the order in which they were found.
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


def gather(recipe: RunSettings, folder: Path, *, store: Path, workers: int, say: Say) -> Data:
    """Find the data, look at all of it, part it by patient, and prepare what is learned from.

    Parameters
    ----------
    recipe
        What is learned.
    folder
        Of the run; what was found is remembered there.
    store
        Folder of the prepared cases.
    workers
        Processes that look and prepare.
    say
        Takes lines for the user.

    Raises
    ------
    UserError
        If a data set is not what it should be, cases cannot be used and may not be left out, or a case cannot be
        prepared.
    """
    sides, (learn, held_out) = _parted(recipe, folder, workers=workers, say=say)
    prepared = Store(store, recipe.config.preprocessing, channels=recipe.config.channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the table has told of it
        cases = prepared.prepare(learn, workers=workers, progress=say)
    return Data(sides, learn, held_out, cases, prepared.contents(held_out))


def examine(
    data: DataSettings, *, spacing_mm: Spacing, with_ct: bool, workers: int, say: Say, cache: Path | None = None
) -> tuple[list[Source], set[Source]]:
    """Find the cases of all data sets, look at each, and print a table.

    Returns
    -------
    found : list of Source
        All of them.
    good : set of Source
        Those that can be used.

    Raises
    ------
    UserError
        If a data set is not what it should be, or cases cannot be used and may not be left out.
    """
    found = [
        source for spec in data.specs for source in find_sources(spec, seed=data.seed, lesion_labels=data.lesion_labels)
    ]
    findings = survey(found, spacing_mm=spacing_mm, with_ct=with_ct, workers=workers, cache=cache, progress=say)
    say(table(findings))
    return found, set(usable(found, findings, skip=data.skip_bad))


def _parted(recipe: RunSettings, folder: Path, *, workers: int, say: Say) -> tuple[Split, Split]:
    """Find the data, look at all of it, and part it by patient; return all, and those that can be used."""
    data, config = recipe.data, recipe.config
    found, good = examine(
        data,
        spacing_mm=config.preprocessing.spacing_mm,
        with_ct=config.channels.takes_ct,
        workers=workers,
        cache=folder / SURVEY,
        say=say,
    )
    sides = split(found, fold=data.fold, split_file=data.split_file)  # of all: its file does not depend on bad cases
    learn, held_out = ([source for source in side if source in good] for side in sides)
    if sides[1] and not held_out:
        raise UserError(f"none of the {len(sides[1])} held-out cases can be used; mend them, or hold out others")
    learned = {source.group for source in learn}
    unused = next((spec for spec in data.specs if spec not in learned), None)
    if not learn or (data.shares and unused):
        raise UserError(f"{unused}: no case of it is left to learn from; leave it out, or hold out less")
    cases = f"{len(learn)} {'case' if len(learn) == 1 else 'cases'}"
    say(f"{cases} to learn from, {len(held_out)} held out; who is where: {folder / SPLIT}")
    if data.fold is not None and data.split_file is None and _is_uneven(sides, data.fold[1]):
        say(
            "remark: the folds are uneven, since each patient's is drawn by name whoever else there is; with few "
            "patients give sides of your own with --split"
        )
    return sides, (learn, held_out)


def _is_uneven(sides: Split, folds: int) -> bool:
    """Whether far more or fewer patients are held out than one in so many."""
    learn, held_out = ({source.patient for source in side if source.phantom_seed is None} for side in sides)
    everyone = len(learn) + len(held_out)
    return everyone > 0 and abs(len(held_out) / everyone - 1 / folds) > UNEVEN
