"""What a run keeps while it learns: records, states, and the weights of its best and last validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from swfastedit_core.checkpoint import STATES_OF_A_RUN, Checkpoint, write_checkpoint
from swfastedit_core.system.atomic import remove_unfinished
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.run.log import METRICS, RunLog
from swfastedit_core.train.run.settings import Schedule
from swfastedit_core.train.run.states import SUFFIX, write_state
from swfastedit_core.train.run.trainer import Trainer
from swfastedit_core.train.run.validation import Projection, mean_scores, validate

BEST, LAST = "best.safetensors", "last.safetensors"
STATES = STATES_OF_A_RUN
PACKAGES = ("torch", "monai", "lightning-fabric", "numpy", "scipy")

T = TypeVar("T")


class StepTimer:
    """Measures steps: their losses, their time, and how much of it went into waiting for crops."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._waited = self._excluded = 0.0
        self._begin = time.perf_counter()

    def time_waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on, and count the time until each comes."""
        source = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._waited += time.perf_counter() - begin
            yield batch

    def add_step(self, loss: float) -> None:
        """Count a step."""
        self._losses.append(loss)

    def exclude(self, work: Callable[[], object]) -> None:
        """Do what is no part of a step."""
        begin = time.perf_counter()
        work()
        self._excluded += time.perf_counter() - begin

    def take_figures(self) -> dict[str, float]:
        """Return the figures since the last call, under the names of `board.COLUMNS`."""
        seconds = max(time.perf_counter() - self._begin - self._excluded, 1e-9)
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        figures = {
            "loss": sum(finite) / len(finite) if finite else math.nan,
            "seconds_per_step": seconds / max(len(self._losses), 1),
            "waiting": self._waited / seconds,
            "skipped": len(self._losses) - len(finite),
        }
        self._losses, self._waited, self._excluded, self._begin = [], 0.0, 0.0, time.perf_counter()
        return figures


class RunRecorder:
    """Writes what a run keeps; of several processes the first one writes.

    Parameters
    ----------
    folder
        Of the run.
    trainer
        The network, at the step it goes on from.
    settings
        What a resumed run must have in common with this one.
    about
        What the weights say of how they were made, beside what is known here.
    origin
        What they say of the weights that the run began with; None for random ones.
    held_out
        Scans for validation.
    schedule
        How often to save, and how to validate.
    before
        The state that is resumed; None at the beginning.
    say
        Takes lines for the user.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        *,
        settings: dict[str, Any],
        about: dict[str, Any],
        origin: dict[str, Any] | None,
        held_out: Sequence[Source],
        schedule: Schedule,
        before: dict[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._trainer, self._fabric = folder, trainer, trainer.fabric
        self._settings, self._about, self._schedule, self._say = settings, about, schedule, say
        self._origin = origin
        self._held_out = held_out[: schedule.validation_cases or None]
        test = {"cases": [source.case for source in self._held_out], "overlap": schedule.validation_overlap}
        self._validation: dict[str, Any] = {"step": 0, "test": test, "best": None, "last": {}}
        if before is not None:
            self._validation = before["validation"]
            if self._validation["test"] != test:
                say("the validation is another one than before: the next one's weights are the best so far")
                self._validation = {**self._validation, "test": test, "best": None}
        self._saved = time.monotonic()
        if self._fabric.is_global_zero:
            (folder / STATES).mkdir(parents=True, exist_ok=True)
            if before is None:
                self._rename_earlier_files()
            for name in (BEST, LAST, METRICS):
                remove_unfinished(folder, name)
            remove_unfinished(folder / STATES, f"*{SUFFIX}")
            self._log = RunLog(folder, step=trainer.step, validated=self._validation["step"] == trainer.step)

    def log_steps(self, figures: dict[str, float], *, epoch: float) -> None:
        """Record figures of the steps since the last time."""
        if not self._fabric.is_global_zero:
            return
        trainer, device = self._trainer, self._fabric.device
        if device.type == "cuda":
            figures = {**figures, "gpu_gb": torch.cuda.max_memory_allocated(device) / 1e9}
            torch.cuda.reset_peak_memory_stats(device)
        self._log.add_row(trainer.step, {"epoch": epoch, "learning_rate": trainer.learning_rate, **figures})
        skipped = f", {figures['skipped']} steps skipped" if figures["skipped"] else ""
        self._say(
            f"step {trainer.step} of {trainer.steps}: loss {figures['loss']:.4f}, "
            f"{figures['seconds_per_step']:.2f} s a step, {figures['waiting']:.0%} of it waiting for crops{skipped}"
        )

    @property
    def validation_due(self) -> bool:
        """Whether a validation is due at this step and was not done."""
        step, every = self._trainer.step, self._schedule.validate_steps
        due = step == self._trainer.steps or (every > 0 and step > 0 and step % every == 0)
        return bool(self._held_out) and due and self._validation["step"] != step

    def save_due(self) -> bool:
        """Whether it is time to save a state."""
        return time.monotonic() - self._saved >= 60 * self._schedule.save_minutes

    def save_state(self) -> None:
        """Write the state, and the weights as they are; all processes leave together."""
        trainer = self._trainer
        if self._fabric.is_global_zero:
            state = {
                "settings": self._settings,
                "origin": self._origin,
                "validation": self._validation,
                "trainer": trainer.state(),
            }
            self._write_weights(LAST)  # before the state, which says that all is written
            write_state(self._folder / STATES, state, step=trainer.step, keep=self._schedule.keep)
        self._saved = time.monotonic()
        self._fabric.barrier()

    def validate(self, stop: Callable[[], bool]) -> bool:
        """Segment the held-out scans, each process a part of them; keep the weights if they are the best so far.

        Parameters
        ----------
        stop
            Whether this process was asked to stop.

        Returns
        -------
        bool
            Whether it was broken off, since any process was asked to stop.
        """
        fabric, trainer = self._fabric, self._trainer
        begin, warnings = time.perf_counter(), list[str]()
        checkpoint = Checkpoint(self._folder / "training", trainer.config, trainer.weights())
        mine = validate(
            checkpoint,
            self._held_out[fabric.global_rank :: fabric.world_size],
            device=fabric.device,
            overlap=self._schedule.validation_overlap,
            stop=stop,
            warn=warnings.append,
        )
        for warning in _gathered(warnings, fabric.world_size):
            self._say(warning)
        if any(_gathered([stop()], fabric.world_size)):
            return True
        found = _gathered(mine, fabric.world_size)
        scores = mean_scores([projection.score for projection in found])
        better = self._is_better(found, scores["dice"])
        last = {"step": trainer.step, "cases": len(found)}
        self._validation = {
            "step": trainer.step,
            "test": self._validation["test"],
            "best": {"dice": scores["dice"], "cases": _names(found)} if better else self._validation["best"],
            "last": {**last, **{name: _rounded(value) for name, value in scores.items()}},
        }
        if fabric.is_global_zero:
            self._record_validation(found, scores, time.perf_counter() - begin, better=better)
        return False

    def _is_better(self, found: Sequence[Projection], mean_dice: float) -> bool:
        """Whether this is the best validation: scores are compared on the same scans, and more scans count more."""
        best = self._validation["best"]
        if best is None or _names(found) != best["cases"]:
            return math.isfinite(mean_dice) and (best is None or len(found) > len(best["cases"]))
        return bool(mean_dice > best["dice"])

    def _rename_earlier_files(self) -> None:
        """Rename what a run left here whose states are gone; it may be all that is left of weeks."""
        for name in (BEST, LAST, METRICS):
            if (self._folder / name).exists():
                (self._folder / name).replace(self._folder / f"earlier-{name}")
                self._say(f"{self._folder / name}: of an earlier run, renamed to earlier-{name}")

    def close(self) -> None:
        """Finish the records."""
        if self._fabric.is_global_zero:
            self._log.close()

    def _record_validation(
        self, found: Sequence[Projection], scores: dict[str, float], seconds: float, *, better: bool
    ) -> None:
        step = self._trainer.step
        self._log.add_row(step, {**scores, "validated": len(found)})
        self._log.plot_validation(step, found)
        if better:
            self._write_weights(BEST)
        left_out = len(self._held_out) - len(found)
        self._say(
            f"step {step}: {len(found)} held-out scans in {seconds:.0f} s, mean Dice {scores['dice']:.4f}, "
            f"FPV {scores['fpv_ml']:.1f} ml, FNV {scores['fnv_ml']:.1f} ml"
            f"{f', {left_out} left out' if left_out else ''}{', the best so far' if better else ''}"
        )

    def _write_weights(self, name: str) -> None:
        trainer = self._trainer
        training = {
            **self._about,
            **({} if self._origin is None else {"start": self._origin}),
            "step": trainer.step,
            "steps": trainer.steps,
            "validation": self._validation["last"],
            "versions": {package: version(package) for package in PACKAGES},
        }
        path = self._folder / name
        write_checkpoint(Checkpoint(path, replace(trainer.config, training=training), trainer.weights()), path)


def _gathered(mine: list[T], processes: int) -> list[T]:
    """Bring the results of all processes together; those of scans that were dealt out, in the scans' order."""
    if processes == 1:
        return mine
    parts: list[Any] = [None] * processes
    distributed.all_gather_object(parts, mine)
    longest = max(len(part) for part in parts)
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def _names(found: Sequence[Projection]) -> list[str]:
    return [projection.score.case for projection in found]


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
