"""One process of several that learn together; the last of them meets a crop of NaN. Started by torchrun."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch
from train.run.test_trainer import CONFIG, CPU, crop

from swfastedit_core.train.run.fabric import launch_fabric
from swfastedit_core.train.run.settings import LearningSettings
from swfastedit_core.train.run.trainer import Trainer

RANKS = 2
BAD_STEP = 1


def digest(trainer: Trainer) -> str:
    """Return a checksum of the weights."""
    content = hashlib.sha256()
    for tensor in trainer.weights().values():
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()


def main(folder: Path) -> None:
    """Learn for three steps; write each step's loss and weights to a file of this rank's."""
    fabric = launch_fabric(CPU, "float32", local_ranks=RANKS)
    trainer = Trainer(CONFIG, LearningSettings(learning_rate=1e-2, batch=RANKS), fabric, steps=3)
    rows = []
    for step in range(3):
        image, label = crop(step * RANKS + fabric.global_rank)
        if step == BAD_STEP and fabric.global_rank == RANKS - 1:
            image = torch.full_like(image, float("nan"))
        loss, _ = trainer.train_step(image, label)
        rows.append([loss, digest(trainer)])
    (folder / f"{fabric.global_rank}.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
