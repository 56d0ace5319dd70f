"""A run from its data to its weights: find, prepare, learn, validate, keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from swfastedit_core.errors import UserError
from swfastedit_core.train.draw import Draw
from swfastedit_core.train.feed import Crops, Order, batches
from swfastedit_core.train.keeper import STATES, Keeper, Pace
from swfastedit_core.train.recipe import Cadence, DataSettings, Machine, Recipe
from swfastedit_core.train.sources import Source, find_sources
from swfastedit_core.train.splits import split, write_split
from swfastedit_core.train.start import origin_of, read_start
from swfastedit_core.train.state import newest_state
from swfastedit_core.train.stop import Request, requests
from swfastedit_core.train.store import PreparedCase, Store
from swfastedit_core.train.survey import survey, table, usable
from swfastedit_core.train.trainer import Trainer

SPLIT, SURVEY = "split.json", "survey.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A run: what it learns, where it keeps it, and on what.

    Attributes
    ----------
    recipe
        What is learned.
    folder
        Of the run: states, weights, metrics, pictures.
    store
        Folder of the prepared cases; several runs may share one.
    machine, cadence
        How it uses the machine, and how often it looks up.
    about
        What the weights say of how they were made, beside what the run itself knows.
    """

    recipe: Recipe
    folder: Path
    store: Path
    machine: Machine
    cadence: Cadence
    about: dict[str, Any]


def fit(run: Run, fabric: Fabric, *, resume: bool, say: Say) -> None:
    """Train to the end of the schedule, or until a signal comes: then write the state, and end as it says.

    Parameters
    ----------
    run
        What to do.
    fabric
        From `trainer.connect`; all processes of a distributed run come here.
    resume
        Go on from the latest good state. Without it a folder that holds states is refused.
    say
        Takes lines for the user.

    Raises
    ------
    UserError
        If data, settings or memory do not allow to go on.
    """
    recipe = run.recipe
    begun = _state_to_resume(run.folder, resume=resume, say=say)
    start_file = recipe.learning.start if begun is None else None
    start = None if start_file is None else read_start(start_file, recipe.config)
    with fabric.rank_zero_first():  # the others find the survey and the prepared cases on disk
        learn, held_out = gather_sources(recipe, run.folder, workers=run.machine.preparers, say=say)
        store = Store(run.store, recipe.config.preprocessing, channels=recipe.config.channels)
        cases = store.prepare(learn, workers=run.machine.preparers, progress=say)
    steps = recipe.learning.total_steps(len(cases))
    trainer = Trainer(
        recipe.config,
        recipe.learning,
        fabric,
        steps=steps,
        compiled=run.machine.compiled,
        start=None if start is None else start.tensors,
    )
    settings = {**recipe.settings(), "precision": run.machine.precision, "cases": [case.name for case in cases]}
    if begun is not None:
        _require_same(begun["settings"], settings, run.folder)
        trainer.load(begun["trainer"])
        say(f"resumed at step {trainer.step} of {steps}")
    keeper = Keeper(
        run.folder,
        trainer,
        settings=settings,
        about={**run.about, "data": _summary(learn), "held_out": len(held_out)},
        origin=begun["origin"] if begun is not None else None if start is None else origin_of(start),
        held_out=held_out,
        cadence=run.cadence,
        best=-math.inf if begun is None else begun["best"],
        say=say,
    )
    with requests() as stop:
        _learn(run, trainer, keeper, cases, stop=stop)


def gather_sources(recipe: Recipe, folder: Path, *, workers: int, say: Say) -> tuple[list[Source], list[Source]]:
    """Find the data, look at all of it, and part it by patient.

    Returns
    -------
    learn, held_out : list of Source
        Those that can be used, in the order in which they were found.

    Raises
    ------
    UserError
        If a data set is not what it should be, or cases cannot be used and may not be left out.
    """
    data = recipe.data
    with_ct = "ct" in recipe.config.channels
    found, good = examine(data, with_ct=with_ct, workers=workers, cache=folder / SURVEY, say=say)
    sides = split(found, fold=data.fold, split_file=data.split_file)  # of all, so that one file fits every data set
    learn, held_out = ([source for source in side if source in good] for side in sides)
    write_split(folder / SPLIT, learn, held_out)
    say(f"{len(learn)} cases to learn from, {len(held_out)} held out; who is where: {folder / SPLIT}")
    return learn, held_out


def examine(
    data: DataSettings, *, with_ct: bool, workers: int, say: Say, cache: Path | None = None
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
        As `gather_sources`.
    """
    found = [
        source for spec in data.specs for source in find_sources(spec, seed=data.seed, lesion_labels=data.lesion_labels)
    ]
    findings = survey(found, with_ct=with_ct, workers=workers, cache=cache)
    say(table(findings))
    return found, set(usable(found, findings, skip=data.skip_bad))


def _learn(run: Run, trainer: Trainer, keeper: Keeper, cases: Sequence[PreparedCase], *, stop: Request) -> None:
    """Take the steps that are left."""
    recipe, fabric, cadence = run.recipe, trainer.fabric, run.cadence
    order = Order(_by_group(cases, recipe.data.specs), recipe.data.shares, recipe.learning.seed)
    feed = batches(
        Crops(order, Draw.of(recipe, cases)),
        steps=range(trainer.step, trainer.steps),
        batch=recipe.learning.batch,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
        processes=run.machine.loaders,
        pin=fabric.device.type == "cuda",
    )
    pace = Pace()
    for image, label in pace.waiting(feed):
        loss, asked = trainer.learn(image, label, stop=stop.asked)
        pace.add(loss)
        done = trainer.step == trainer.steps
        if done or trainer.step % cadence.log_steps == 0:
            keeper.log(pace.taken(), epoch=trainer.step * recipe.learning.batch / order.epoch)
        if asked and not done:
            keeper.save()
            keeper.close()
            stop.follow()
        if done or (cadence.validate_steps and trainer.step % cadence.validate_steps == 0):
            pace.resting(keeper.validate)
        if done or fabric.broadcast(keeper.due()):
            pace.resting(keeper.save)
    keeper.close()


def _by_group(cases: Sequence[PreparedCase], specs: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of each data set's cases."""
    groups = tuple(tuple(i for i, case in enumerate(cases) if case.group == spec) for spec in specs)
    empty = next((spec for spec, group in zip(specs, groups, strict=True) if not group), None)
    if empty:
        raise UserError(f"{empty}: no case of it is left to learn from; leave it out, or hold out less")
    return groups


def _state_to_resume(folder: Path, *, resume: bool, say: Say) -> dict[str, Any] | None:
    state = newest_state(folder / STATES, warn=say)
    if state is not None and not resume:
        raise UserError(f"{folder}: holds a run already; go on with --resume, or choose another --output")
    if state is None and resume:
        say(f"{folder}: nothing to resume, the run begins")
    return state


def _require_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    for name, wanted in now.items():
        if before.get(name) != wanted:
            raise UserError(
                f"{folder}: the run was begun with another {name.partition('.')[2] or name}: "
                f"{_short(before.get(name))}, now {_short(wanted)}; use another --output"
            )


def _short(setting: object) -> str:
    return f"{len(setting)} of them" if isinstance(setting, list) else str(setting)


def _summary(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Count the cases of each data set by layout; no names, since weights travel further than data may."""
    groups = dict.fromkeys(source.group for source in sources)
    return [
        {
            "layout": group.partition(":")[0],
            "cases": sum(source.group == group for source in sources),
            "patients": len({source.patient for source in sources if source.group == group}),
        }
        for group in groups
    ]
