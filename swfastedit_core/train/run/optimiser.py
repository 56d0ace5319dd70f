"""The optimiser of a run, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from monai.optimizers import Novograd
from torch import nn

LAST_LEARNING_RATE = 1e-8  # of the cosine; as in the recipe
MILESTONES = 4  # multistep: the learning rate falls after each fourth of the steps
MILESTONE_FACTOR = 0.333  # as in the authors' code
POWER = 2  # of the polynomial; as in the authors' code


def build_optimiser(
    name: Literal["adam", "novograd"], parameters: Iterable[nn.Parameter], *, learning_rate: float
) -> torch.optim.Optimizer:
    """Return torch's Adam or MONAI's Novograd, with their own defaults for all but the learning rate."""
    if name == "novograd":
        optimiser: torch.optim.Optimizer = Novograd(parameters, lr=learning_rate)
        return optimiser
    return torch.optim.Adam(parameters, lr=learning_rate)


def learning_rate_at(
    step: int, *, steps: int, first: float, schedule: Literal["cosine", "multistep", "polynomial"] = "cosine"
) -> float:
    """Return the learning rate of a step. It depends on nothing else, so a run can resume at any step.

    Parameters
    ----------
    step, steps
        Index of the step, and number of steps of the run.
    first
        Learning rate of the first step.
    schedule
        ``cosine``: `torch.optim.lr_scheduler.CosineAnnealingLR` to 1e-8. ``multistep``: `MultiStepLR` with milestones
        at 1/4, 1/2 and 3/4 of the steps and a gamma of 0.333. ``polynomial``: `PolynomialLR` with a power of 2.
        These are the numbers of the authors' code, which counts epochs instead of steps.
    """
    steps = max(steps, 1)
    if schedule == "multistep":
        return first * MILESTONE_FACTOR ** min(MILESTONES * step // steps, MILESTONES - 1)
    if schedule == "polynomial":
        return first * (1 - step / steps) ** POWER
    return LAST_LEARNING_RATE + (first - LAST_LEARNING_RATE) * (1 + math.cos(math.pi * step / steps)) / 2
