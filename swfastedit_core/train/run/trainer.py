"""A network in training: one step, what is kept of it, and what is exported."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.engine import resolve_precision
from swfastedit_core.errors import UserError
from swfastedit_core.model import build_network
from swfastedit_core.train.run.loss import SegmentationLoss, TrainingNetwork
from swfastedit_core.train.run.settings import LearningSettings

LAST_LEARNING_RATE = 1e-8  # the recipe's
MAX_SKIPPED_STEPS = 20  # steps without a finite loss after which training is given up
FABRIC_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
DDP_TIMEOUT = timedelta(days=1)  # of processes for the one that prepares or validates
MIN_BFLOAT16_VOXELS = 3  # voxels along x in the deepest level, see `training_precision`
SEED_STRIDE = 2**20  # steps have random numbers of their own: seed * SEED_STRIDE + step, and one stream a process


def training_precision(name: str, device: torch.device, config: CheckpointConfig, size: tuple[int, int, int]) -> str:
    """Turn ``auto`` into a precision that the device is fast in and learns right in.

    On CPUs the gradient of a bfloat16 convolution's weights is wrong, and read from memory that nobody wrote, where
    its input has two voxels along the first axis (torch 2.13 with oneDNN on AVX512-BF16; the forward pass is right).
    In the deepest level of a network that happens to small crops; ``auto`` is float32 there.

    Parameters
    ----------
    name
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    device
        Where to train.
    config
        Of the network.
    size
        What the network is given in training, voxels along x, y, z.

    Raises
    ------
    UserError
        If the precision is unknown, or one that the device does not learn right in.
    """
    precision = resolve_precision(name, device)
    side = config.network.divisor_xyz[0]
    if device.type == "cpu" and precision == "bfloat16" and size[0] // side < MIN_BFLOAT16_VOXELS:
        if name == "auto":
            return "float32"
        raise UserError(
            f"bfloat16 on a CPU gives wrong gradients for {size[0]} voxels along x, "
            f"expected {MIN_BFLOAT16_VOXELS * side} or more; use --precision float32"
        )
    return precision


def launch_fabric(device: torch.device, precision: str, *, ranks_here: int = 1, nodes: int = 1) -> Fabric:
    """Join the processes of a run; alone where there is one.

    Parameters
    ----------
    device
        Where to train; of several processes each takes the GPU of its own number.
    precision
        ``float32``, ``bfloat16`` or ``float16``; the last two as automatic mixed precision.
    ranks_here, nodes
        Processes on this machine and number of machines, as torchrun started them.
    """
    alone = ranks_here * nodes == 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it reports what was asked for
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if alone and device.type == "cuda" else ranks_here,
        num_nodes=nodes,
        strategy="auto" if alone else DDPStrategy(timeout=DDP_TIMEOUT),
        precision=FABRIC_PRECISIONS[precision],  # type: ignore[arg-type] # one of the literals
    )
    fabric.launch()
    torch.backends.cudnn.benchmark = True  # crops are all of one size
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as in `engine`
    return fabric


def learning_rate_at(step: int, *, steps: int, first: float) -> float:
    """Cosine annealing to 1e-8, as `torch.optim.lr_scheduler.CosineAnnealingLR`."""
    share = step / max(steps, 1)
    return LAST_LEARNING_RATE + (first - LAST_LEARNING_RATE) * (1 + math.cos(math.pi * share)) / 2


class _WarmedUpAverage:
    """An exponential moving average that forgets its beginning.

    After n updates the decay is (1 + n) / (10 + n) at most, as in TensorFlow's ``ExponentialMovingAverage``: with a
    decay of 0.999 from the start, half of the weights after 700 steps would be those that a run began with.
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
    """Weights, optimiser, scaler and the number of steps done.

    Every step's random numbers come from the seed and the step's number, so that a resumed run goes on with those
    that an uninterrupted one would have used.

    Parameters
    ----------
    config
        Network and window.
    learning
        How to learn.
    steps
        Number of optimiser steps.
    fabric
        From `launch_fabric`.
    compiled
        Let torch compile the network: minutes at the start, faster steps.
    start
        Weights of the network to begin with, names as in MONAI's DynUNet; None takes random ones.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        learning: LearningSettings,
        fabric: Fabric,
        *,
        steps: int,
        compiled: bool = False,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.learning, self.fabric = config, learning, fabric
        self.steps = steps
        self.step = 0
        self.skipped = 0
        torch.manual_seed(learning.seed)
        network = build_network(config.network)
        if start is not None:
            network.load_state_dict({name: tensor.float() for name, tensor in start.items()})
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
        self._objective = SegmentationLoss(squared=learning.squared)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return learning_rate_at(self.step, steps=self.steps, first=self.learning.learning_rate)

    def train_step(self, image: Tensor, label: Tensor, *, stop: bool = False) -> tuple[float, bool]:
        """Take one step.

        Parameters
        ----------
        image, label
            This process's crops: float32 [N, C, X, Y, Z] and uint8 [N, 1, X, Y, Z].
        stop
            Whether this process was asked to stop.

        Returns
        -------
        loss : float
            Mean over the processes; NaN where the step was left out because loss or gradients were not finite.
        stop : bool
            Whether any process was asked to stop.

        Raises
        ------
        UserError
            If many steps in a row were left out.
        """
        torch.manual_seed(
            (self.learning.seed * SEED_STRIDE + self.step) * self.fabric.world_size + self.fabric.global_rank
        )
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        self._module.train()
        image = self.fabric.to_device(image).contiguous(memory_format=torch.channels_last_3d)
        loss = self._objective(self._module(image), self.fabric.to_device(label))
        self._optimiser.zero_grad(set_to_none=True)
        # All processes have to agree whether there is a gradient to wait for: one finite loss and one that is not
        # would leave them waiting for each other.
        shared = torch.stack((loss.detach(), loss.new_tensor(float(stop))))
        mean, stops = (float(value) for value in self.fabric.all_reduce(shared, reduce_op="mean"))
        taken = math.isfinite(mean)
        if taken:
            self.fabric.backward(loss)
            taken = self._update()
        self.skipped = 0 if taken else self.skipped + 1
        if self.skipped >= MAX_SKIPPED_STEPS:
            raise UserError(
                f"step {self.step}: neither loss nor gradients were finite for {self.skipped} steps; begin another run "
                "with a lower --learning-rate, with --start-from the last weights of this one if they are good"
            )
        self.step += 1
        return (mean if taken else math.nan), stops > 0

    def _update(self) -> bool:
        """Move the weights if the gradients are numbers; return whether they were. All processes have the same."""
        # Without a limit the gradients stay as they are, and the norm still tells whether they are numbers.
        norm = self.fabric.clip_gradients(
            self._module, self._optimiser, max_norm=self.learning.clip or math.inf, error_if_nonfinite=False
        )
        finite = norm is not None and bool(torch.isfinite(norm))
        # A float16 scaler looks at each step by itself, and lowers its scale where it leaves one out.
        if finite or self.fabric.strategy.precision.state_dict():
            self._optimiser.step()
        if finite and self.average is not None:
            self.average.update_parameters(self.model.network)
        return finite

    def weights(self) -> dict[str, Tensor]:
        """Return the network's tensors as they would be exported: float32 on the CPU, names as in MONAI's DynUNet."""
        network = self.model.network if self.average is None else self.average.module
        return {name: t.detach().float().cpu().contiguous() for name, t in network.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return all that a later run needs to go on exactly here."""
        return {
            "step": self.step,
            "learner": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was made."""
        self.model.load_state_dict(state["learner"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
