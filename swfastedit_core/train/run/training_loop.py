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
    """The configuration of a training run.

    Attributes
    ----------
    settings
        All settings that change the resulting weights.
    folder
        Folder of the run: states, weights, metrics, pictures.
    store
        Folder of the prepared cases; several runs may share one.
    machine, schedule
        How the run uses the machine, and when it logs, saves and validates.
    provenance
        Provenance that is stored with the weights; the run adds data, steps, validation and versions.
    """

    settings: RunSettings
    folder: Path
    store: Path
    machine: Machine
    schedule: Schedule
    provenance: dict[str, Any]


def train(run: Run, fabric: Fabric, *, resume: bool, say: Say) -> None:
    """Train until the last step. If a signal asks to stop, save the state and end the program.

    Parameters
    ----------
    run
        What to train, where, and how.
    fabric
        From `launch_fabric`; every process of a distributed run calls this function.
    resume
        Continue from the newest valid state, if there is one. Without it, a folder that holds a run is refused.
    say
        Takes lines for the user.

    Raises
    ------
    UserError
        If data, settings, memory or disk do not allow the run to continue.
    """
    settings = run.settings
    resume_settings: dict[str, Any] = {**settings.by_name(), "precision": run.machine.precision}
    state = read_state_to_resume(run.folder, fabric, resume=resume, say=say)
    if state is not None:
        require_same_settings(state, resume_settings, run.folder)  # early: preparing cases takes long
    initial_file = settings.learning.initial_weights if state is None else None
    initial_checkpoint = None if initial_file is None else read_initial_weights(initial_file, settings.config)
    data = _gather_data(run, fabric, say=say)
    resume_settings |= {
        "content of the training cases": [case.folder.name for case in data.cases],  # names are digests
        "content of the held-out cases": data.held_out_content,
        "list of held-out cases": [source.case for source in data.held_out],
    }
    if state is not None:
        require_same_settings(state, resume_settings, run.folder)
    crop_maker = CropMaker(
        cases=data.cases,
        config=settings.config,
        crop_settings=settings.crops,
        augment_settings=settings.augment,
        transplant_settings=settings.transplant,
        click_settings=settings.clicks,
        donor_data_sets=settings.data.donor_data,
    )
    if fabric.is_global_zero:
        _write_split(run.folder / SPLIT, data)
    trainer = _build_trainer(run, fabric, cases=len(data.cases), initial_checkpoint=initial_checkpoint)
    if state is not None:
        trainer.load_state(state["trainer"])
        done = ", nothing left to do" if trainer.step == trainer.steps else ""
        say(f"resumed at step {trainer.step} of {trainer.steps}{done}")
    recorder = RunRecorder(
        run.folder,
        trainer,
        settings=resume_settings,
        provenance={**run.provenance, "data": _count_cases(data.training), "held_out": len(data.held_out)},
        origin=None if initial_checkpoint is None else describe_origin(initial_checkpoint),
        held_out=data.held_out,
        schedule=run.schedule,
        state=state,
        say=say,
    )
    crops = Crops(_build_case_sampler(settings, data.cases), crop_maker)
    with catch_stop_signals() as stop_request:
        try:
            _run_steps(run, trainer, recorder, crops, stop_request=stop_request)
        except UserError:
            # For example, a prepared case cannot be read. Save the state, so that the user can repair the file and
            # resume at this step.
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


def _build_trainer(run: Run, fabric: Fabric, *, cases: int, initial_checkpoint: Checkpoint | None) -> Trainer:
    return Trainer(
        run.settings.config,
        run.settings.learning,
        fabric,
        steps=run.settings.learning.total_steps(cases),
        compiled=run.machine.compiled,
        initial_weights=None if initial_checkpoint is None else initial_checkpoint.tensors,
    )


def _run_steps(run: Run, trainer: Trainer, recorder: RunRecorder, crops: Crops, *, stop_request: StopRequest) -> None:
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
        """Validate. Save the state before, because a validation takes long, and after it, with the result."""
        recorder.save_state()
        if not recorder.validate(lambda: stop_request.received):
            _stop(recorder, stop_request)
        recorder.save_state()

    if recorder.validation_due:  # the previous run was stopped during this validation
        timer.run_excluded(validate)
    elif trainer.step == trainer.steps:
        recorder.save_state()
    # The bar is shown on a terminal only. Without a terminal, the lines of the log show the progress.
    bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", disable=None if fabric.is_global_zero else True)
    with closing(feed), bar:
        for image, label, clicks in timer.time_waiting(feed):
            loss, stop_requested = trainer.train_step(image, label, clicks, stop_requested=stop_request.received)
            timer.add_step(loss)
            bar.update()
            done = trainer.step == trainer.steps
            recorder.log_progress(timer, epoch=trainer.step * batch_size / crops.sampler.epoch_length)
            if stop_requested and not done:
                recorder.save_state()
                _stop(recorder, stop_request)
            if recorder.validation_due:
                timer.run_excluded(validate)
            elif done or fabric.broadcast(recorder.save_due()):
                timer.run_excluded(recorder.save_state)
    recorder.close()


def _stop(recorder: RunRecorder, stop_request: StopRequest) -> NoReturn:
    """Close the log, then end the program as the signal would."""
    recorder.close()
    stop_request.end_program()


def _build_case_sampler(settings: RunSettings, cases: Sequence[PreparedCase]) -> CaseSampler:
    """Return the sampler of cases, with the cases grouped by data set."""
    groups = tuple(
        tuple(index for index, case in enumerate(cases) if case.group == spec) for spec in settings.data.specs
    )
    return CaseSampler(groups, settings.data.shares, settings.learning.seed)


def _write_split(path: Path, data: Data) -> None:
    """Write the training set, the validation set, and the cases that cannot be used."""
    usable = {source.case for source in (*data.training, *data.held_out)}
    unused = [source.case for cases in data.sets for source in cases if source.case not in usable]
    write_split(path, *data.sets, unused=unused)


def _count_cases(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Count cases and patients of each data set.

    Names are left out: weights may be public while the data is private.
    """
    groups = dict.fromkeys(source.group for source in sources)
    return [
        {
            "layout": group.partition(":")[0],
            "cases": sum(source.group == group for source in sources),
            "patients": len({source.patient for source in sources if source.group == group}),
        }
        for group in groups
    ]
