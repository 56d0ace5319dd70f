"""A run from its data to its weights: find, prepare, learn, validate, keep."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning_fabric import Fabric
from tqdm import tqdm

from swfastedit_core.errors import UserError
from swfastedit_core.train.crops.crop_maker import Draw
from swfastedit_core.train.crops.loader import Crops, Order, batches
from swfastedit_core.train.data.gather import SPLIT, Data, Say, gather
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.data.splits import write_split
from swfastedit_core.train.run.recorder import BEST, LAST, STATES, Keeper, Pace
from swfastedit_core.train.run.settings import Cadence, Machine, Recipe
from swfastedit_core.train.run.signals import Request, requests
from swfastedit_core.train.run.start import origin_of, read_start
from swfastedit_core.train.run.state import Damaged, newest_state, read_state
from swfastedit_core.train.run.trainer import Trainer
from swfastedit_core.train.store.case_store import PreparedCase


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
    settings = {**recipe.settings(), "precision": run.machine.precision}
    _require_same(begun, settings, run.folder)  # before anything is prepared for other settings
    start_file = recipe.learning.start if begun is None else None
    start = None if start_file is None else read_start(start_file, recipe.config)
    data = _gathered(run, fabric, say=say)
    settings |= {
        "content of the cases": [case.folder.name for case in data.cases],  # names are digests
        "content of the held-out cases": data.held_out_content,
        "list of held-out cases": [source.case for source in data.held_out],
    }
    _require_same(begun, settings, run.folder)
    draw = Draw.of(recipe, data.cases)
    if fabric.is_global_zero:
        usable = {source.case for source in (*data.learn, *data.held_out)}
        unused = [source.case for side in data.sides for source in side if source.case not in usable]
        write_split(run.folder / SPLIT, *data.sides, unused=unused)
    steps = recipe.learning.total_steps(len(data.cases))
    trainer = Trainer(
        recipe.config,
        recipe.learning,
        fabric,
        steps=steps,
        compiled=run.machine.compiled,
        start=None if start is None else start.tensors,
    )
    origin = None if start is None else origin_of(start)
    if begun is not None:
        trainer.load(begun["trainer"])
        origin = begun["origin"]
        say(f"resumed at step {trainer.step} of {steps}{', nothing left to do' if trainer.step == steps else ''}")
    keeper = Keeper(
        run.folder,
        trainer,
        settings=settings,
        about={**run.about, "data": _summary(data.learn), "held_out": len(data.held_out)},
        origin=origin,
        held_out=data.held_out,
        cadence=run.cadence,
        before=begun,
        say=say,
    )
    with requests() as stop:
        try:
            _learn(run, trainer, keeper, draw, stop=stop)
        except UserError:  # such as a crop that could not be read: mended, the run goes on from here
            if fabric.world_size == 1:
                keeper.save()
            raise


def _gathered(run: Run, fabric: Fabric, *, say: Say) -> Data:
    """Find and prepare the data in the first process; the others are given what it found."""
    data = None
    if fabric.is_global_zero:
        data = gather(run.recipe, run.folder, store=run.store, workers=run.machine.preparers, say=say)
    data = fabric.broadcast(data)
    assert data is not None
    return data


def _learn(run: Run, trainer: Trainer, keeper: Keeper, draw: Draw, *, stop: Request) -> None:
    """Take the steps that are left."""
    recipe, fabric, cadence = run.recipe, trainer.fabric, run.cadence
    order = Order(_by_group(draw.cases, recipe.data.specs), recipe.data.shares, recipe.learning.seed)
    feed = batches(
        Crops(order, draw),
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
        pace.resting(judge)
    elif trainer.step == trainer.steps:
        keeper.save()
    # Where standard error is a terminal: elsewhere the lines of the log tell enough.
    bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", disable=None if fabric.is_global_zero else True)
    with closing(feed), bar:
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
    if not resume and (path is not None or any((folder / name).exists() for name in (BEST, LAST))):
        raise UserError(f"{folder}: holds a run already; go on with --resume, or choose another --output")
    if path is None and resume:
        say(f"{folder}: nothing to resume, the run begins")
    if path is None or newest is not None:
        return None if newest is None else newest[1]
    try:
        return read_state(path)
    except Damaged as error:
        raise UserError(f"{path}: {error}, although the first process could read it") from error


def _require_same(begun: dict[str, Any] | None, now: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other settings than those of the state that is resumed."""
    if begun is None:
        return
    before = begun["settings"]
    for name, wanted in now.items():
        if before.get(name) != wanted:
            raise UserError(
                f"{folder}: the run was begun with another {name.partition('.')[2] or name}: "
                f"{_difference(before.get(name), wanted)}; use another --output"
            )


def _difference(before: object, now: object) -> str:
    if not isinstance(before, list) or not isinstance(now, list):
        return f"{before}, now {now}"
    new = len(set(now) - set(before))
    return f"{len(before)} of them, now {len(now)}, {new} of which {'was' if new == 1 else 'were'} not there"


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
