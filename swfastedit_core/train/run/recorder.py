"""The files of a run: metrics, states, and the weights of its best validation and of its last step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from swfastedit_core.checkpoint import STATES_OF_A_RUN, Checkpoint, write_checkpoint
from swfastedit_core.system.atomic import remove_unfinished
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.run.execution import Schedule
from swfastedit_core.train.run.fabric import gather_results
from swfastedit_core.train.run.fine_tuning import BEST, LAST, with_terms_of_origin
from swfastedit_core.train.run.log import METRICS, RunLog
from swfastedit_core.train.run.progress import describe_progress, describe_scores
from swfastedit_core.train.run.states import STATE_SUFFIX, write_state
from swfastedit_core.train.run.step_timer import StepTimer
from swfastedit_core.train.run.trainer import Trainer
from swfastedit_core.train.run.validation import Validated, key_score, mean_scores, validate

STATES = STATES_OF_A_RUN
PACKAGES = ("torch", "monai", "lightning-fabric", "numpy", "scipy")


class RunRecorder:
    """Logs, saves and validates a run. If there are several processes, only the first one writes.

    Parameters
    ----------
    folder
        Folder of the run.
    trainer
        The network, at the step where the run starts or continues.
    settings
        Settings by name. A resumed run must have the same values.
    provenance
        Provenance that is stored with the weights; this class adds steps, validation and versions.
    origin
        Provenance of the initial weights; None for random ones. A resumed run takes it from its state.
    held_out
        Validation set.
    schedule
        When to log, save and validate.
    state
        State that is resumed; None at step 0.
    say
        Takes lines for the user.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        *,
        settings: dict[str, Any],
        provenance: dict[str, Any],
        origin: dict[str, Any] | None,
        held_out: Sequence[Source],
        schedule: Schedule,
        state: dict[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._trainer, self._fabric = folder, trainer, trainer.fabric
        self._settings, self._provenance, self._schedule, self._say = settings, provenance, schedule, say
        self._origin = origin if state is None else state["origin"]
        self._held_out = held_out[: schedule.validation_cases or None]
        self._clicks = schedule.validation_clicks if trainer.config.channels.takes_clicks else 0
        validation_set = {
            "cases": [source.case for source in self._held_out],
            "overlap": schedule.validation_overlap,
            **({"clicks": self._clicks} if trainer.config.channels.takes_clicks else {}),
        }
        self._validation: dict[str, Any] = {"step": 0, "validation_set": validation_set, "best": None, "last": {}}
        if state is not None:
            self._validation = state["validation"]
            if self._validation["validation_set"] != validation_set:
                say(
                    "validation cases, overlap or clicks changed: scores cannot be compared, so the next validation "
                    f"replaces {BEST}"
                )
                self._validation = {**self._validation, "validation_set": validation_set, "best": None}
        self._saved_at, self._first_step = time.monotonic(), trainer.step + 1
        if self._fabric.is_global_zero:
            (folder / STATES).mkdir(parents=True, exist_ok=True)
            if state is None:
                self._rename_earlier_files()
            for name in (BEST, LAST, METRICS):
                remove_unfinished(folder, name)
            remove_unfinished(folder / STATES, f"*{STATE_SUFFIX}")
            includes_validation = self._validation["step"] == trainer.step
            self._log = RunLog(folder, step=trainer.step, includes_validation=includes_validation)

    def log_progress(self, timer: StepTimer, *, epoch: float) -> None:
        """Log the steps since the last row, if the schedule asks for a row at this step.

        The line of the first step shows the user that the run works, and how long it takes. It has no row: the next row
        includes this step.
        """
        trainer, every = self._trainer, self._schedule.log_steps
        if trainer.step == trainer.steps or trainer.step % every == 0:
            self._log_steps(timer.take_metrics(), epoch=epoch)
        elif trainer.step == self._first_step and self._fabric.is_global_zero:
            self._say(describe_progress(timer.metrics(), step=trainer.step, steps=trainer.steps, starting=True))

    def _log_steps(self, metrics: dict[str, float], *, epoch: float) -> None:
        if not self._fabric.is_global_zero:
            return
        trainer, device = self._trainer, self._fabric.device
        if device.type == "cuda":
            metrics = {**metrics, "gpu_gb": torch.cuda.max_memory_allocated(device) / 1e9}
            torch.cuda.reset_peak_memory_stats(device)
        self._log.add_row(trainer.step, {"epoch": epoch, "learning_rate": trainer.learning_rate, **metrics})
        self._say(describe_progress(metrics, step=trainer.step, steps=trainer.steps))

    @property
    def validation_due(self) -> bool:
        """Whether the schedule asks for a validation at this step that was not done yet."""
        step, every = self._trainer.step, self._schedule.validate_steps
        due = step == self._trainer.steps or (every > 0 and step > 0 and step % every == 0)
        return bool(self._held_out) and due and self._validation["step"] != step

    def save_due(self) -> bool:
        """Return whether it is time to save a state."""
        return time.monotonic() - self._saved_at >= 60 * self._schedule.save_minutes

    def save_state(self) -> None:
        """Write the state and the current weights; returns in all processes at the same time."""
        trainer = self._trainer
        if self._fabric.is_global_zero:
            state = {
                "settings": self._settings,
                "origin": self._origin,
                "validation": self._validation,
                "trainer": trainer.state(),
            }
            self._write_weights(LAST)  # before the state: if a state exists, its weights exist, too
            write_state(self._folder / STATES, state, step=trainer.step, keep=self._schedule.kept_states)
        self._saved_at = time.monotonic()
        self._fabric.barrier()

    def validate(self, should_stop: Callable[[], bool]) -> bool:
        """Segment the validation set, each process a part of it; save the weights if they are the best so far.

        Parameters
        ----------
        should_stop
            Returns whether this process was asked to stop.

        Returns
        -------
        bool
            Whether the validation finished. If a process was asked to stop, it ends early and has no result.
        """
        fabric, trainer = self._fabric, self._trainer
        start, warnings = time.perf_counter(), list[str]()
        checkpoint = Checkpoint(self._folder / "training", trainer.config, trainer.weights())
        own = validate(
            checkpoint,
            self._held_out[fabric.global_rank :: fabric.world_size],
            device=fabric.device,
            overlap=self._schedule.validation_overlap,
            clicks=self._clicks,
            should_stop=should_stop,
            warn=warnings.append,
        )
        for warning in gather_results(warnings, fabric.world_size):
            self._say(warning)
        if any(gather_results([should_stop()], fabric.world_size)):
            return False
        validated = gather_results(own, fabric.world_size)
        means: dict[str, float] = mean_scores([scan.plain.score for scan in validated])
        if self._clicks:
            clicked = mean_scores([scan.clicked.score for scan in validated if scan.clicked is not None])
            means |= {**{f"clicked_{name}": value for name, value in clicked.items()}, "clicks": self._clicks}
        better = self._is_better(validated, key_score(means))
        last = {"step": trainer.step, "cases": len(validated)}
        self._validation = {
            "step": trainer.step,
            "validation_set": self._validation["validation_set"],
            "best": {"dice": key_score(means), "cases": _cases(validated)} if better else self._validation["best"],
            "last": {**last, **{name: _rounded(value) for name, value in means.items()}},
        }
        if fabric.is_global_zero:
            if better:
                self._write_weights(BEST)
            self._log_validation(validated, means, time.perf_counter() - start, better=better)
        return True

    def close(self) -> None:
        """Finish the log."""
        if self._fabric.is_global_zero:
            self._log.close()

    def _is_better(self, validated: Sequence[Validated], score: float) -> bool:
        """Return whether this validation is the best.

        On the same cases, the higher score is better. On other cases, the validation with more cases is better.
        """
        best = self._validation["best"]
        if best is None or _cases(validated) != best["cases"]:
            return math.isfinite(score) and (best is None or len(validated) > len(best["cases"]))
        return bool(score > best["dice"])

    def _rename_earlier_files(self) -> None:
        """Rename the files of a run without states: they can be the only result of weeks of training."""
        for name in (BEST, LAST, METRICS):
            if (self._folder / name).exists():
                (self._folder / name).replace(self._folder / f"earlier-{name}")
                self._say(f"{self._folder / name}: belongs to an earlier run, renamed to earlier-{name}")

    def _log_validation(
        self, validated: Sequence[Validated], means: dict[str, float], seconds: float, *, better: bool
    ) -> None:
        step = self._trainer.step
        self._log.add_row(step, {**means, "validated_cases": len(validated)})
        self._log.plot_progress(step, validated)
        left_out = len(self._held_out) - len(validated)
        self._say(
            f"step {step}: {len(validated)} held-out scans in {seconds:.0f} s, {describe_scores(means)}"
            f"{f', {left_out} left out' if left_out else ''}{', the best so far' if better else ''}"
        )

    def _write_weights(self, name: str) -> None:
        trainer = self._trainer
        training = {
            **self._provenance,
            **({} if self._origin is None else {"start": self._origin}),
            "step": trainer.step,
            "steps": trainer.steps,
            "validation": self._validation["last"],
            "versions": {package: version(package) for package in PACKAGES},
        }
        path = self._folder / name
        config = replace(with_terms_of_origin(trainer.config, self._origin), training=training)
        write_checkpoint(Checkpoint(path, config, trainer.weights()), path)


def _cases(validated: Sequence[Validated]) -> list[str]:
    return [scan.plain.score.case for scan in validated]


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
