"""The trainer: training steps, the weights to export, and the state to resume from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.model import build_network
from swfastedit_core.train.run.guided_input import add_guidance
from swfastedit_core.train.run.loss import SegmentationLoss, TrainingNetwork
from swfastedit_core.train.run.settings import LearningSettings

LAST_LEARNING_RATE = 1e-8  # as in the recipe
MAX_SKIPPED_STEPS = 20  # in a row, without finite loss and gradients; then the run ends
CLICKS = 2  # random stream for clicks in errors; crops/loader.py has the others
SEED_STRIDE = 2**20  # distance between the random seeds of two runs: more than a run has steps


def learning_rate_at(step: int, *, steps: int, first: float) -> float:
    """Return the learning rate of a step: cosine annealing to 1e-8, as `torch.optim.lr_scheduler.CosineAnnealingLR`."""
    share = step / max(steps, 1)
    return LAST_LEARNING_RATE + (first - LAST_LEARNING_RATE) * (1 + math.cos(math.pi * share)) / 2


class _WarmedUpAverage:
    """The update of an exponential moving average whose decay grows at the start of a run.

    After n updates the decay is at most (1 + n) / (10 + n), as in TensorFlow's ``ExponentialMovingAverage``. With a
    constant decay of 0.999, the initial weights would still make up half of the average after 700 steps.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay

    def __call__(
        self,
        average: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        updates: Tensor | int,
    ) -> None:
        n = int(updates)
        torch._foreach_lerp_(average, current, 1 - min(self._decay, (1 + n) / (10 + n)))


class Trainer:
    """Network, optimiser, gradient scaler and the number of finished steps.

    The random numbers of a step depend only on the seed and on the index of the step. So a resumed run uses the same
    random numbers as an uninterrupted one.

    Parameters
    ----------
    config
        Network and window.
    learning
        Optimiser and loss.
    fabric
        From `launch_fabric`.
    steps
        Number of optimiser steps of the run.
    compiled
        Compile the network with torch: minutes at the start, then faster steps.
    initial_weights
        Tensors by their names in MONAI's DynUNet; None starts with random weights.

    Attributes
    ----------
    step
        Number of finished steps.
    skipped
        Number of skipped steps since the last successful one.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        learning: LearningSettings,
        fabric: Fabric,
        *,
        steps: int,
        compiled: bool = False,
        initial_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.learning, self.fabric = config, learning, fabric
        self.steps = steps
        self.step = 0
        self.skipped = 0
        torch.manual_seed(learning.seed)
        network = build_network(config.network)
        if initial_weights is not None:
            network.load_state_dict({name: tensor.float() for name, tensor in initial_weights.items()})
        self.model = TrainingNetwork(
            network,
            deep_supervision=learning.deep_supervision,
            window=config.window,
            overlap=learning.window_overlap,
        ).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload] # no stub for this argument
        optimiser = torch.optim.Adam(self.model.parameters(), lr=learning.learning_rate)
        module = torch.compile(self.model) if compiled else self.model
        self._module, self._optimiser = fabric.setup(cast(nn.Module, module), optimiser)
        self.average = AveragedModel(network, multi_avg_fn=_WarmedUpAverage(learning.ema)) if learning.ema else None
        self._loss = SegmentationLoss(squared=not learning.plain_dice)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return learning_rate_at(self.step, steps=self.steps, first=self.learning.learning_rate)

    def train_step(
        self, image: Tensor, label: Tensor, clicks: Tensor | None = None, *, stop_requested: bool = False
    ) -> tuple[float, bool]:
        """Do one optimiser step; skip it if loss or gradients are not finite.

        Parameters
        ----------
        image, label
            Crops of this process: float32 [N, C, X, Y, Z], without guidance channels, and uint8 [N, 1, X, Y, Z].
        clicks
            For a network that takes clicks, those of the crops: int64 [N, 2, most, 3].
        stop_requested
            Whether this process was asked to stop.

        Returns
        -------
        loss : float
            Mean over the processes; NaN if the step was skipped.
        stop_requested : bool
            Whether any process was asked to stop.

        Raises
        ------
        UserError
            If too many steps in a row were skipped.
        """
        seed = (self.learning.seed * SEED_STRIDE + self.step) * self.fabric.world_size + self.fabric.global_rank
        torch.manual_seed(seed)
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        image, label = self.fabric.to_device(image), self.fabric.to_device(label)
        if clicks is not None and self.config.clicks is not None:
            image = add_guidance(
                image,
                label,
                clicks,
                encoding=self.config.clicks,
                predict=self._predict,
                rng=np.random.default_rng((CLICKS, seed)),
            )
        self._module.train()
        loss = self._loss(self._module(image.contiguous(memory_format=torch.channels_last_3d)), label)
        self._optimiser.zero_grad(set_to_none=True)
        # All processes must agree whether to compute gradients: if one process skipped the step alone, the others would
        # wait for its gradients.
        shared = torch.stack((loss.detach(), loss.new_tensor(float(stop_requested))))
        mean, stops = (float(value) for value in self.fabric.all_reduce(shared, reduce_op="mean"))
        updated = math.isfinite(mean)
        if updated:
            self.fabric.backward(loss)
            updated = self._update()
        self.skipped = 0 if updated else self.skipped + 1
        if self.skipped >= MAX_SKIPPED_STEPS:
            raise UserError(
                f"step {self.step}: loss or gradients were not finite in {self.skipped} steps in a row; start a new "
                "run with a lower --learning-rate; to keep the progress, add --start-from last.safetensors of this run"
            )
        self.step += 1
        return (mean if updated else math.nan), stops > 0

    def _predict(self, image: Tensor) -> Tensor:
        """Return the mask of one crop [1, C, X, Y, Z]: bool [X, Y, Z]. Other processes do not take part."""
        self.model.eval()
        with torch.no_grad(), self.fabric.autocast():
            logits = self.model(image.contiguous(memory_format=torch.channels_last_3d))[0]
        mask: Tensor = logits[0, 1] > logits[0, 0]
        return mask

    def _update(self) -> bool:
        """Update the weights if the gradients are finite; return whether they are.

        All processes have the same gradients.
        """
        # With an infinite limit the gradients stay the same, and the norm shows whether they are finite.
        norm = self.fabric.clip_gradients(
            self._module, self._optimiser, max_norm=self.learning.clip or math.inf, error_if_nonfinite=False
        )
        finite = norm is not None and bool(torch.isfinite(norm))
        # The scaler of float16 checks the gradients itself; if it skips a step, it lowers its scale.
        if finite or self.fabric.strategy.precision.state_dict():
            self._optimiser.step()
        if finite and self.average is not None:
            self.average.update_parameters(self.model.network)
        return finite

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors to export: float32 on the CPU, by their names in MONAI's DynUNet.

        With a moving average, its weights are returned.
        """
        network = self.model.network if self.average is None else self.average.module
        return {name: t.detach().float().cpu().contiguous() for name, t in network.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return the state from which `load_state` continues at this step."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue at the step where `state` was saved."""
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
