"""Lightning Fabric: the device, the precision and the processes of a run."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.engine import resolve_precision
from swfastedit_core.errors import UserError

FABRIC_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
DDP_TIMEOUT = timedelta(days=1)  # the other processes wait while the first one prepares cases
MIN_BFLOAT16_VOXELS = 3  # along x in the deepest level, see `training_precision`

T = TypeVar("T")


def training_precision(name: str, device: torch.device, config: CheckpointConfig, size: tuple[int, int, int]) -> str:
    """Return the training precision: the one that is named, or for ``auto`` the fastest one with correct gradients.

    On CPUs, the weight gradient of a bfloat16 convolution is wrong if the input has two voxels along the first axis:
    it is read from uninitialised memory (torch 2.13 with oneDNN on AVX512-BF16; the forward pass is correct).
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
    divisor_x = config.network.divisor_xyz[0]
    if device.type == "cpu" and precision == "bfloat16" and size[0] // divisor_x < MIN_BFLOAT16_VOXELS:
        if name == "auto":
            return "float32"
        raise UserError(
            f"bfloat16 on a CPU gives wrong gradients for {size[0]} voxels along x, "
            f"expected {MIN_BFLOAT16_VOXELS * divisor_x} or more; use --precision float32"
        )
    return precision


def launch_fabric(device: torch.device, precision: str, *, local_ranks: int = 1, nodes: int = 1) -> Fabric:
    """Set up Lightning Fabric, and connect the processes of the run if there are several.

    Parameters
    ----------
    device
        Device of the training. If there are several processes, each uses the GPU whose index is its local rank.
    precision
        ``float32``, ``bfloat16`` or ``float16``; the last two are automatic mixed precision.
    local_ranks, nodes
        Number of processes on this machine and number of machines, as torchrun started them.
    """
    alone = local_ranks * nodes == 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it only repeats the options
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


def gather_results(own: list[T], processes: int) -> list[T]:
    """Return the results of all processes in the order of the validation set.

    Process i of n has cases i, i + n, i + 2 n, and so on.
    """
    if processes == 1:
        return own
    parts: list[Any] = [None] * processes
    distributed.all_gather_object(parts, own)
    longest = max(len(part) for part in parts)
    return [part[i] for i in range(longest) for part in parts if i < len(part)]
