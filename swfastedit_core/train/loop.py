"""The training loop: steps, validation on whole scans, state that survives an interruption."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from swfastedit_core.atomic import replacing
from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig
from swfastedit_core.engine import PRECISIONS, TorchEngine
from swfastedit_core.errors import UserError
from swfastedit_core.metrics import dice, false_negative_ml, false_positive_ml
from swfastedit_core.model import DynUNet, build_network
from swfastedit_core.pipeline import segment
from swfastedit_core.train.cases import Source, TrainingCase
from swfastedit_core.train.patches import draw_batch

LAST_LEARNING_RATE = 1e-8  # the recipe's
SKIPPED_IN_A_ROW = 20  # steps without a finite loss after which training is given up
STATE = "state.pt"
LOG = "log.csv"
VALIDATION_STREAM = 2**32 - 1


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes
    ----------
    steps
        Number of optimiser steps.
    batch
        Crops a step.
    patch
        Sides of a crop, x, y, z.
    learning_rate
        At the first step; falls as a cosine to 1e-8 at the last.
    seed
        Of weights and crops.
    """

    steps: int
    batch: int
    patch: tuple[int, int, int]
    learning_rate: float
    seed: int

    def learning_rate_at(self, step: int) -> float:
        """Cosine annealing, as `torch.optim.lr_scheduler.CosineAnnealingLR`."""
        share = step / max(self.steps, 1)
        return LAST_LEARNING_RATE + (self.learning_rate - LAST_LEARNING_RATE) * (1 + math.cos(math.pi * share)) / 2


class Trainer:
    """A network in training: weights, optimiser, scaler and the step it has reached.

    Crops are drawn from a random stream of each step's own, so that a resumed run sees what an uninterrupted
    one would have seen.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        schedule: Schedule,
        *,
        device: torch.device,
        precision: str,
        cases: Sequence[str] = (),
    ) -> None:
        self.config = config
        # What a resumed run must share with the one before, so that the exported header tells the truth.
        self.settings = {"config": repr(config), "precision": precision, "cases": list(cases), **asdict(schedule)}
        self.schedule = schedule
        self.device = device
        self.dtype = PRECISIONS[precision]
        self.step = 0
        self.skipped = 0
        torch.manual_seed(schedule.seed)
        self.network: DynUNet = build_network(config.network).to(
            device=device,
            memory_format=torch.channels_last_3d,  # type: ignore[call-overload]
        )
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=schedule.learning_rate)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True, batch=True)

    def learn(self, image: Tensor, label: Tensor) -> float:
        """Take one step; return the loss.

        Raises
        ------
        UserError
            If the loss was not finite for many steps in a row.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.step)
        self.network.train()
        image = image.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(image)
        loss = self.loss(logits.float(), label.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        if torch.isfinite(loss):
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.skipped = 0
        else:
            self.skipped += 1
        if self.skipped >= SKIPPED_IN_A_ROW:
            raise UserError(f"step {self.step}: no finite loss for {self.skipped} steps; lower --learning-rate")
        self.step += 1
        return float(loss.detach())

    def checkpoint(self, path: Path) -> Checkpoint:
        """Return the weights as they are now."""
        tensors = {name: t.detach().float().cpu().contiguous() for name, t in self.network.state_dict().items()}
        return Checkpoint(path, self.config, tensors)

    def save(self, folder: Path) -> None:
        """Write everything a later run needs to go on, in one step."""
        state = {
            "step": self.step,
            "settings": self.settings,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        with replacing(folder / STATE) as temporary:
            torch.save(state, temporary)

    def resume(self, folder: Path) -> None:
        """Go on where a run stopped.

        Raises
        ------
        UserError
            If the state cannot be read or belongs to a run with other settings.
        """
        try:
            # On the CPU: Adam wants its step counters there, and moves the rest itself.
            state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
            found = dict(state["settings"])
        except Exception as error:
            raise UserError(
                f"{folder / STATE}: cannot be read ({type(error).__name__}); remove it to start again"
            ) from error
        for name, wanted in self.settings.items():
            if found.get(name) != wanted:
                raise UserError(
                    f"{folder}: holds a run with other {name}: {_short(found.get(name))}, now {_short(wanted)}; "
                    "use another --run"
                )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"])
        if self.device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self.step = state["step"]


@dataclass(frozen=True)
class Cadence:
    """Steps between two lines of the log, two saved states, two validations (0: at the end only)."""

    log: int = 50
    save: int = 250
    validate: int = 0


def train(
    trainer: Trainer,
    cases: Sequence[TrainingCase],
    held_out: Sequence[Source],
    folder: Path,
    *,
    cadence: Cadence,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train to the end of the schedule.

    Parameters
    ----------
    trainer
        Fresh or resumed.
    cases
        To learn from.
    held_out
        Scans for validation, segmented whole by the program's own pipeline.
    folder
        Of the run: state and log.
    cadence
        How often to log, save and validate.
    say
        Takes lines for the user.

    Returns
    -------
    dict
        Results of the last validation; empty without held-out scans.
    """
    schedule, losses, begin = trainer.schedule, [], time.perf_counter()
    while trainer.step < schedule.steps:
        rng = np.random.default_rng((schedule.seed, trainer.step))
        image, label = draw_batch(cases, rng, count=schedule.batch, patch=schedule.patch)
        losses.append(trainer.learn(image, label))
        step = trainer.step
        if step % cadence.log == 0 or step == schedule.steps:
            seconds = (time.perf_counter() - begin) / len(losses)
            row = {"step": step, "loss": float(np.nanmean(losses)), "seconds_per_step": seconds}
            say(f"step {step} of {schedule.steps}: loss {row['loss']:.4f}, {seconds:.2f} s a step")
            _append(folder / LOG, {**row, "learning_rate": schedule.learning_rate_at(step)})
            losses, begin = [], time.perf_counter()
        if step % cadence.save == 0 or step == schedule.steps:
            trainer.save(folder)
        if cadence.validate and step % cadence.validate == 0 and step < schedule.steps:
            say(f"step {step}: {validate(trainer.checkpoint(folder), held_out, trainer.device)}")
            begin = time.perf_counter()
    return validate(trainer.checkpoint(folder), held_out, trainer.device)


def validate(checkpoint: Checkpoint, held_out: Sequence[Source], device: torch.device) -> dict[str, Any]:
    """Segment whole scans in float32 and average Dice, FPV and FNV over those where each is defined."""
    if not held_out:
        return {}
    engine = TorchEngine(replace(checkpoint, path=Path("training")), device=device, precision="float32")
    scores = []
    for source in held_out:
        scan, label = source.read()
        truth, voxel_ml = label.array_zyx, scan.geometry.voxel_ml
        found = segment(scan, [engine], overlap=0.5).mask.array_zyx
        scores.append(
            (
                dice(truth, found),
                false_positive_ml(truth, found, voxel_ml=voxel_ml),
                false_negative_ml(truth, found, voxel_ml=voxel_ml),
            )
        )
    means = [
        round(float(np.nanmean(column)), 4) if np.isfinite(column).any() else None for column in np.array(scores).T
    ]
    return {"cases": len(scores), **dict(zip(("dice", "fpv_ml", "fnv_ml"), means, strict=True))}


def _short(setting: object) -> str:
    return f"{len(setting)} of them" if isinstance(setting, list) else str(setting)


def _append(path: Path, row: dict[str, Any]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
