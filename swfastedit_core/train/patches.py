"""Crops for training: where they lie, how they are turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.train.cases import TrainingCase

POSITIVE = 0.6  # share of crops centred on a lesion voxel, where the case has one; the recipe's
IN_THE_PATIENT = 0.75  # of the other crops, the share centred in the patient; the rest lies anywhere, air included
FLIP = 0.1  # probability an axis; the recipe's
ROTATE = 0.1  # probability of a quarter turn about the body axis; the recipe's


def draw_batch(
    cases: Sequence[TrainingCase], rng: np.random.Generator, *, count: int, patch: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Draw crops from cases drawn at random.

    Returns
    -------
    image : Tensor
        float32 [count, 1, X, Y, Z].
    label : Tensor
        uint8, same shape.
    """
    crops = [draw_crop(cases[int(rng.integers(len(cases)))], rng, patch=patch) for _ in range(count)]
    images, labels = zip(*crops, strict=True)
    return (
        torch.from_numpy(np.stack(images)[:, None].astype(np.float32)),
        torch.from_numpy(np.stack(labels)[:, None]),
    )


def draw_crop(
    case: TrainingCase, rng: np.random.Generator, *, patch: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one crop of image and label, [X, Y, Z] of the patch's shape, flipped and turned by chance.

    A crop lies within the volume; where the volume is smaller, air (0) is put around it.
    """
    shape = case.label.shape
    if len(case.foreground) and rng.random() < POSITIVE:
        voxel = int(case.foreground[rng.integers(len(case.foreground))])
        centre = [int(index) for index in np.unravel_index(voxel, shape)]
    elif rng.random() < IN_THE_PATIENT:
        centre = [int(index) for index in case.patient[rng.integers(len(case.patient))]]
    else:
        centre = [int(rng.integers(side)) for side in shape]
    index, pad = [], []
    for middle, side, wanted in zip(centre, shape, patch, strict=True):
        start = int(np.clip(middle - wanted // 2, 0, max(side - wanted, 0)))
        index.append(slice(start, min(start + wanted, side)))
        missing = max(wanted - side, 0)
        pad.append((missing // 2, missing - missing // 2))
    pair = [np.pad(array[tuple(index)], pad) for array in (case.image, case.label)]
    for axis in range(3):
        if rng.random() < FLIP:
            pair = [np.flip(array, axis) for array in pair]
    if rng.random() < ROTATE and patch[0] == patch[1]:
        turns = int(rng.integers(1, 4))
        pair = [np.rot90(array, turns, (0, 1)) for array in pair]
    return pair[0], pair[1]
