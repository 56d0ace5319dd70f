"""One process of two that learn together. Started by torchrun with a folder and the options of a run.

First a crop of NaN comes to one of them. Then they do a run of the command; before it, the folder is locked. They lose
the newest state of the run, and resume it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.model import NetworkConfig
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.run.fabric import launch_fabric
from swfastedit_core.train.run.settings import LearningSettings
from swfastedit_core.train.run.states import list_states
from swfastedit_core.train.run.trainer import Trainer

RANKS = 2
BAD_STEP = 1
SIDE = (32, 32, 32)
CONFIG = CheckpointConfig(NetworkConfig("dynunet", (4,) * 6), window=SIDE)


def digest(trainer: Trainer) -> str:
    """Return a checksum of the weights."""
    content = hashlib.sha256()
    for tensor in trainer.weights().values():
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()


def learn_from_nan(folder: Path) -> int:
    """Learn for three steps; write each step's loss and weights to a file of this rank's. Return the rank."""
    fabric = launch_fabric(torch.device("cpu"), "float32", local_ranks=RANKS)
    trainer = Trainer(CONFIG, LearningSettings(learning_rate=1e-2, batch=RANKS), fabric, steps=3)
    rows = []
    for step in range(3):
        rng = np.random.default_rng(step * RANKS + fabric.global_rank)
        image = torch.from_numpy(rng.random((1, 1, *SIDE), dtype=np.float32))
        label = (image > 0.9).to(torch.uint8)
        if step == BAD_STEP and fabric.global_rank == RANKS - 1:
            image = torch.full_like(image, float("nan"))
        loss, _ = trainer.train_step(image, label)
        rows.append([loss, digest(trainer)])
    (folder / f"{fabric.global_rank}.json").write_text(json.dumps(rows))
    return fabric.global_rank


def train_in_locked_folder(folder: Path, run: Path, options: list[str], *, rank: int) -> None:
    """Try to train while the second process holds the lock that the first one asks for; write each exit code."""
    with (run / "lock").open("a") as file:
        if rank == 1:
            fcntl.lockf(file, fcntl.LOCK_EX)
        torch.distributed.barrier()
        (folder / f"refused-{rank}").write_text(str(command.main(["--output", str(run), *options])))
        torch.distributed.barrier()


def main(folder: Path, options: list[str]) -> int:
    """Do all of it; the weights of the run before it is resumed are called first.safetensors."""
    rank, run = learn_from_nan(folder), folder / "run"
    train_in_locked_folder(folder, run, options, rank=rank)
    code = command.main(["--output", str(run), *options])
    if rank == 0:
        shutil.copy(run / "last.safetensors", folder / "first.safetensors")
        list_states(run / "states")[-1].unlink()
    torch.distributed.barrier()
    return code or command.main(["--output", str(run), *options, "--resume"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
