"""Lightning Fabric: the device, the precision and the processes of a run."""

from __future__ import annotations

import logging
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.engine import resolve_precision
from swfastedit_core.errors import UserError

FABRIC_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
DDP_TIMEOUT = timedelta(days=1)  # the others wait while the first process prepares cases
MIN_BFLOAT16_VOXELS = 3  # along x in the deepest level, see `training_precision`


def training_precision(name: str, device: torch.device, config: CheckpointConfig, size: tuple[int, int, int]) -> str:
    """Return the precision of a training: a given one, or the fastest one with right gradients.

    On CPUs, the weight gradient of a bfloat16 convolution is wrong where the input has two voxels along the first
    axis: it is read from uninitialised memory (torch 2.13 with oneDNN on AVX512-BF16; the forward pass is right).
    Small crops have two voxels in the deepest level of the network; ``auto`` is float32 for them.

    Parameters
    ----------
    name
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    device
        Device of the training.
    config
        Configuration of the network.
    size
        Size of the network's input in training, in voxels along x, y, z.

    Raises
    ------
    UserError
        If the precision is unknown, the device does not have it, or its gradients are wrong.
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


def launch_fabric(device: torch.device, precision: str, *, local_ranks: int = 1, nodes: int = 1) -> Fabric:
    """Set up Lightning Fabric, and connect the processes of the run if there are several.

    Parameters
    ----------
    device
        Device of the training; of several processes, each takes the GPU with the number of its local rank.
    precision
        ``float32``, ``bfloat16`` or ``float16``; the last two are automatic mixed precision.
    local_ranks, nodes
        Number of processes on this machine and number of machines, as torchrun started them.
    """
    alone = local_ranks * nodes == 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it prints what the options say
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if alone and device.type == "cuda" else local_ranks,
        num_nodes=nodes,
        strategy="auto" if alone else DDPStrategy(timeout=DDP_TIMEOUT),
        precision=FABRIC_PRECISIONS[precision],  # type: ignore[arg-type] # one of the literals
    )
    fabric.launch()
    torch.backends.cudnn.benchmark = True  # all crops have the same size
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as in `engine`
    return fabric
