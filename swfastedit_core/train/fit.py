"""A run from its data to its weights: find, prepare, learn, validate, keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning_fabric import Fabric
from tqdm import tqdm

from swfastedit_core.errors import UserError
from swfastedit_core.train.draw import Draw
from swfastedit_core.train.feed import Crops, Order, batches
from swfastedit_core.train.keeper import STATES, Keeper, Pace
from swfastedit_core.train.recipe import Cadence, DataSettings, Machine, Recipe
from swfastedit_core.train.sources import Source, find_sources
from swfastedit_core.train.splits import split, write_split
from swfastedit_core.train.start import origin_of, read_start
from swfastedit_core.train.state import Damaged, newest_state, read_state
from swfastedit_core.train.stop import Request, requests
from swfastedit_core.train.store import PreparedCase, Store
from swfastedit_core.train.survey import Spacing, survey, table, usable
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
    begun = _state_to_resume(run.folder, fabric, resume=resume, say=say)
    start_file = recipe.learning.start if begun is None else None
    start = None if start_file is None else read_start(start_file, recipe.config)
    learn, held_out, cases = _gathered(run, fabric, say=say)
    steps = recipe.learning.total_steps(len(cases))
    trainer = Trainer(
        recipe.config,
        recipe.learning,
        fabric,
        steps=steps,
        compiled=run.machine.compiled,
        start=None if start is None else start.tensors,
    )
    settings = {
        **recipe.settings(),
        "precision": run.machine.precision,
        "content of the cases": [case.folder.name for case in cases],  # names are digests
        "list of held-out cases": [source.case for source in held_out],
    }
    origin = None if start is None else origin_of(start)
    if begun is not None:
        _require_same(begun["settings"], settings, run.folder)
        trainer.load(begun["trainer"])
        origin = begun["origin"]
        say(f"resumed at step {trainer.step} of {steps}")
    keeper = Keeper(
        run.folder,
        trainer,
        settings=settings,
        about={**run.about, "data": _summary(learn), "held_out": len(held_out)},
        origin=origin,
        held_out=held_out,
        cadence=run.cadence,
        before=begun,
        say=say,
    )
    with requests() as stop:
        try:
            _learn(run, trainer, keeper, cases, stop=stop)
        except UserError:  # such as a crop that could not be read: mended, the run goes on from here
            if fabric.world_size == 1:
                keeper.save()
            raise


def _gathered(run: Run, fabric: Fabric, *, say: Say) -> tuple[list[Source], list[Source], list[PreparedCase]]:
    """Find and prepare the data in the first process; the others are given what it found."""
    found = None
    if fabric.is_global_zero:
        recipe, workers = run.recipe, run.machine.preparers
        learn, held_out = gather_sources(recipe, run.folder, workers=workers, say=say)
        store = Store(run.store, recipe.config.preprocessing, channels=recipe.config.channels)
        found = learn, held_out, store.prepare(learn, workers=workers, progress=say)
    found = fabric.broadcast(found)
    assert found is not None
    return found


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
    data, config = recipe.data, recipe.config
    found, good = examine(
        data,
        spacing_mm=config.preprocessing.spacing_mm,
        with_ct="ct" in config.channels,
        workers=workers,
        cache=folder / SURVEY,
        say=say,
    )
    sides = split(found, fold=data.fold, split_file=data.split_file)  # of all, so that one file fits every data set
    learn, held_out = ([source for source in side if source in good] for side in sides)
    if sides[1] and not held_out:
        raise UserError(f"none of the {len(sides[1])} held-out cases can be used; mend them, or hold out others")
    learned = {source.group for source in learn}
    unused = next((spec for spec in data.specs if spec not in learned), None)
    if not learn or (data.shares and unused):
        raise UserError(f"{unused}: no case of it is left to learn from; leave it out, or hold out less")
    write_split(folder / SPLIT, learn, held_out)
    say(f"{len(learn)} cases to learn from, {len(held_out)} held out; who is where: {folder / SPLIT}")
    return learn, held_out


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
        As `gather_sources`.
    """
    found = [
        source for spec in data.specs for source in find_sources(spec, seed=data.seed, lesion_labels=data.lesion_labels)
    ]
    findings = survey(found, spacing_mm=spacing_mm, with_ct=with_ct, workers=workers, cache=cache, progress=say)
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

    def judge() -> None:
        """Validate. What was learned is written before, since that takes long, and the outcome after it."""
        keeper.save()
        if keeper.validate(lambda: stop.asked):
            _end(keeper, stop)
        keeper.save()

    if keeper.unjudged:  # the run before ended in its validation
        judge()
    elif trainer.step == trainer.steps:
        keeper.save()
    # Where standard error is a terminal: elsewhere the lines of the log tell enough.
    bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", disable=None if fabric.is_global_zero else True)
    for image, label in pace.waiting(feed):
        loss, asked = trainer.learn(image, label, stop=stop.asked)
        pace.add(loss)
        bar.update()
        done = trainer.step == trainer.steps
        if done or trainer.step % cadence.log_steps == 0:
            keeper.log(pace.taken(), epoch=trainer.step * recipe.learning.batch / order.epoch)
        if asked and not done:
            keeper.save()
            _end(keeper, stop)
        if keeper.unjudged:
            pace.resting(judge)
        elif done or fabric.broadcast(keeper.due()):
            pace.resting(keeper.save)
    bar.close()
    keeper.close()


def _end(keeper: Keeper, stop: Request) -> NoReturn:
    keeper.close()
    stop.follow()


def _by_group(cases: Sequence[PreparedCase], specs: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of each data set's cases."""
    return tuple(tuple(i for i, case in enumerate(cases) if case.group == spec) for spec in specs)


def _state_to_resume(folder: Path, fabric: Fabric, *, resume: bool, say: Say) -> dict[str, Any] | None:
    """Read the state that the first process chooses."""
    newest = newest_state(folder / STATES, warn=say) if fabric.is_global_zero else None
    path = fabric.broadcast(None if newest is None else newest[0])
    if path is not None and not resume:
        raise UserError(f"{folder}: holds a run already; go on with --resume, or choose another --output")
    if path is None and resume:
        say(f"{folder}: nothing to resume, the run begins")
    if path is None or newest is not None:
        return None if newest is None else newest[1]
    try:
        return read_state(path)
    except Damaged as error:
        raise UserError(f"{path}: {error}, although the first process could read it") from error


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
