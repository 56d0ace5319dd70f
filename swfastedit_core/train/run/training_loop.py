"""A training run: gather the data, train, validate, save."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning_fabric import Fabric
from tqdm import tqdm

from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.errors import UserError
from swfastedit_core.train.crops.crop_maker import CropMaker
from swfastedit_core.train.crops.loader import CaseSampler, Crops, batches
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.data.splits import write_split
from swfastedit_core.train.run.execution import Machine, Schedule
from swfastedit_core.train.run.fine_tuning import describe_origin, read_initial_weights
from swfastedit_core.train.run.recorder import RunRecorder
from swfastedit_core.train.run.resume import read_state_to_resume, require_same_settings
from swfastedit_core.train.run.settings import RunSettings
from swfastedit_core.train.run.signals import StopRequest, catch_stop_signals
from swfastedit_core.train.run.step_timer import StepTimer
from swfastedit_core.train.run.trainer import Trainer
from swfastedit_core.train.store.case_store import PreparedCase
from swfastedit_core.train.store.training_data import SPLIT, Data, Say, gather


@dataclass(frozen=True)
class Run:
    """Everything that a training run needs to know.

    Attributes
    ----------
    settings
        What decides the weights.
    folder
        Folder of the run: states, weights, metrics, pictures.
    store
        Folder of the prepared cases; several runs may share one.
    machine, schedule
        How the run uses the machine, and when it logs, saves and validates.
    about
        Provenance that is stored with the weights; the run adds data, steps, validation and versions.
    """

    settings: RunSettings
    folder: Path
    store: Path
    machine: Machine
    schedule: Schedule
    about: dict[str, Any]


def train(run: Run, fabric: Fabric, *, resume: bool, say: Say) -> None:
    """Train until the last step, or until a signal asks to stop: then save the state and end the program.

    Parameters
    ----------
    run
        What to train, where, and how.
    fabric
        From `launch_fabric`; every process of a distributed run calls this function.
    resume
        Continue from the newest valid state. Without it, a folder that holds a run is refused.
    say
        Takes lines for the user.

    Raises
    ------
    UserError
        If data, settings, memory or disk do not allow the run to continue.
    """
    settings = run.settings
    comparable: dict[str, Any] = {**settings.by_name(), "precision": run.machine.precision}
    state = read_state_to_resume(run.folder, fabric, resume=resume, say=say)
    if state is not None:
        require_same_settings(state, comparable, run.folder)  # before cases are prepared for other settings
    start_file = settings.learning.initial_weights if state is None else None
    start = None if start_file is None else read_initial_weights(start_file, settings.config)
    data = _gather_data(run, fabric, say=say)
    comparable |= {
        "content of the training cases": [case.folder.name for case in data.cases],  # names are digests
        "content of the held-out cases": data.held_out_content,
        "list of held-out cases": [source.case for source in data.held_out],
    }
    if state is not None:
        require_same_settings(state, comparable, run.folder)
    crop_maker = CropMaker(
        cases=data.cases,
        config=settings.config,
        crop_settings=settings.crops,
        augment_settings=settings.augment,
        transplant_settings=settings.transplant,
        donor_data_sets=settings.data.donor_data,
    )
    if fabric.is_global_zero:
        _write_split(run.folder / SPLIT, data)
    trainer = _build_trainer(run, fabric, cases=len(data.cases), start=start)
    if state is not None:
        trainer.load_state(state["trainer"])
        done = ", nothing left to do" if trainer.step == trainer.steps else ""
        say(f"resumed at step {trainer.step} of {trainer.steps}{done}")
    recorder = RunRecorder(
        run.folder,
        trainer,
        settings=comparable,
        about={**run.about, "data": _count_cases(data.learn), "held_out": len(data.held_out)},
        origin=None if start is None else describe_origin(start),
        held_out=data.held_out,
        schedule=run.schedule,
        state=state,
        say=say,
    )
    with catch_stop_signals() as stop:
        try:
            _run_steps(run, trainer, recorder, Crops(_build_case_sampler(settings, data.cases), crop_maker), stop=stop)
        except UserError:  # a crop that cannot be read, for example: the user mends it and resumes here
            if fabric.world_size == 1:
                recorder.save_state()
            raise


def _gather_data(run: Run, fabric: Fabric, *, say: Say) -> Data:
    """Find and prepare the data in the first process; send the result to the others."""
    data = None
    if fabric.is_global_zero:
        data = gather(
            run.settings.data, run.settings.config, run.folder, store=run.store, workers=run.machine.preparers, say=say
        )
    data = fabric.broadcast(data)
    assert data is not None
    return data


def _build_trainer(run: Run, fabric: Fabric, *, cases: int, start: Checkpoint | None) -> Trainer:
    return Trainer(
        run.settings.config,
        run.settings.learning,
        fabric,
        steps=run.settings.learning.total_steps(cases),
        compiled=run.machine.compiled,
        initial_weights=None if start is None else start.tensors,
    )


def _run_steps(run: Run, trainer: Trainer, recorder: RunRecorder, crops: Crops, *, stop: StopRequest) -> None:
    """Train from the trainer's step to the last step."""
    fabric, batch_size = trainer.fabric, run.settings.learning.batch
    feed = batches(
        crops,
        steps=range(trainer.step, trainer.steps),
        batch_size=batch_size,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
        processes=run.machine.loaders,
        pin=fabric.device.type == "cuda",
    )
    timer = StepTimer()

    def validate() -> None:
        """Validate; save the state before, since a validation takes long, and after it with the result."""
        recorder.save_state()
        if recorder.validate(lambda: stop.received):
            _stop(recorder, stop)
        recorder.save_state()

    if recorder.validation_due:  # the run was stopped in this validation
        timer.exclude(validate)
    elif trainer.step == trainer.steps:
        recorder.save_state()
    # A bar on a terminal only: elsewhere the lines of the log show the progress.
    bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", disable=None if fabric.is_global_zero else True)
    with closing(feed), bar:
        for image, label in timer.time_waiting(feed):
            loss, stop_asked = trainer.train_step(image, label, stop=stop.received)
            timer.add_step(loss)
            bar.update()
            done = trainer.step == trainer.steps
            if done or trainer.step % run.schedule.log_steps == 0:
                recorder.log_steps(timer.take_figures(), epoch=trainer.step * batch_size / crops.sampler.epoch_length)
            if stop_asked and not done:
                recorder.save_state()
                _stop(recorder, stop)
            if recorder.validation_due:
                timer.exclude(validate)
            elif done or fabric.broadcast(recorder.save_due()):
                timer.exclude(recorder.save_state)
    recorder.close()


def _stop(recorder: RunRecorder, stop: StopRequest) -> NoReturn:
    """Close the records and end the program as the signal would."""
    recorder.close()
    stop.end_program()


def _build_case_sampler(settings: RunSettings, cases: Sequence[PreparedCase]) -> CaseSampler:
    """Return the sampler of cases, with the cases grouped by data set."""
    groups = tuple(
        tuple(index for index, case in enumerate(cases) if case.group == spec) for spec in settings.data.specs
    )
    return CaseSampler(groups, settings.data.shares, settings.learning.seed)


def _write_split(path: Path, data: Data) -> None:
    """Write which cases are trained on, which are held out, and which cannot be used."""
    usable = {source.case for source in (*data.learn, *data.held_out)}
    unused = [source.case for side in data.sides for source in side if source.case not in usable]
    write_split(path, *data.sides, unused=unused)


def _count_cases(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Count cases and patients of each data set; without names, since weights may be published where data may not."""
    groups = dict.fromkeys(source.group for source in sources)
    return [
        {
            "layout": group.partition(":")[0],
            "cases": sum(source.group == group for source in sources),
            "patients": len({source.patient for source in sources if source.group == group}),
        }
        for group in groups
    ]
