"""The input of an interactive network in training: clicks in the errors of predictions, and guidance channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import cast

import numpy as np
import torch
from monai.losses import DiceLoss
from torch import Tensor

from swfastedit_core.box import Box, triple
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.guidance import CHANNELS, paint_guidance
from swfastedit_core.interactive.simulate.draw import draw_voxels
from swfastedit_core.interactive.simulate.rules import STOP_RULES, StopSettings
from swfastedit_core.interactive.simulate.strategies import STRATEGIES, Strategy, deepgrow, error_regions
from swfastedit_core.train.crops.click_settings import FROM_ERROR, ClickSettings

Predict = Callable[[Tensor], Tensor]
Placed = list[np.ndarray]  # voxels of tumour clicks and of background clicks, int64 [N, 3] each


def add_guidance(
    image: Tensor,
    label: Tensor,
    clicks: Tensor,
    *,
    encoding: ClickEncoding,
    settings: ClickSettings,
    predict: Predict,
    rng: np.random.Generator,
) -> Tensor:
    """Return the network's input: the image channels, then the guidance channels.

    Parameters
    ----------
    image
        float32 [N, C, X, Y, Z].
    label
        uint8 [N, 1, X, Y, Z].
    clicks
        int64 [N, 2, most, 3] of `click_settings.sample_clicks`, on the CPU.
    encoding
        The network's.
    settings
        Where clicks lie that depend on predictions.
    predict
        Maps an input [1, C + 2, X, Y, Z] to logits, float32 [1, 2, X, Y, Z], without gradients.
    rng
        Random generator.

    Returns
    -------
    Tensor
        float32 [N, C + 2, X, Y, Z].
    """
    guided = []
    for crop, crop_label, crop_clicks in zip(image, label[:, 0], clicks.numpy(), strict=True):
        predict_with = partial(_predict_with, crop=crop, encoding=encoding, predict=predict)
        if settings.rounds:
            placed = place_in_rounds(crop_label, settings, predict=predict_with, rng=rng)
        else:
            placed = place_in_errors(crop_label, crop_clicks, settings, predict=predict_with, rng=rng)
        guided.append(_with_guidance(crop, placed, encoding))
    return torch.stack(guided)


def place_in_errors(
    label: Tensor,
    clicks: np.ndarray,
    settings: ClickSettings,
    *,
    predict: Callable[[Placed], Tensor],
    rng: np.random.Generator,
) -> Placed:
    """Place those clicks of a crop that lie in errors.

    If there are such clicks, the crop is predicted once, with its other clicks; each of them then lies at a random
    voxel of the false negatives (tumour) or false positives (background). Where there is no error, there is no click.

    Parameters
    ----------
    label
        uint8 [X, Y, Z].
    clicks
        int64 [2, most, 3] of `click_settings.sample_clicks`.
    settings
        How a voxel is drawn.
    predict
        Maps clicks to logits, float32 [1, 2, X, Y, Z].
    rng
        Random generator.
    """
    placed = [row[(row >= 0).all(axis=1)] for row in clicks]
    left = [int((row == FROM_ERROR).all(axis=1).sum()) for row in clicks]
    if not any(left):
        return placed
    errors = error_regions(label, _mask_of(predict(placed)))
    for kind, region in enumerate((errors.tumour, errors.background)):
        placed[kind] = np.concatenate([placed[kind], draw_voxels(region, rng, count=left[kind], draw=settings.draw)])
    return placed


def place_in_rounds(
    label: Tensor, settings: ClickSettings, *, predict: Callable[[Placed], Tensor], rng: np.random.Generator
) -> Placed:
    """Place clicks as the authors do: round after round, each with a prediction and its errors.

    Before each round the stopping rule is asked, with the Dice loss of the last prediction. Then the crop is predicted
    with all clicks, if rule or strategy need it, and the strategy adds at most one click of each kind. Source:
    matt3o/AutoPET2-Submission, interaction.py.

    Parameters
    ----------
    label
        uint8 [X, Y, Z].
    settings
        Number of rounds, rule and strategy.
    predict
        Maps clicks to logits, float32 [1, 2, X, Y, Z].
    rng
        Random generator.
    """
    rule, strategy = STOP_RULES[settings.stop], _strategy(settings)
    parameters = StopSettings(probability=settings.probability, dice_loss=settings.dice_threshold)
    needs_loss = "dice" in settings.stop
    placed, dice_loss = [np.empty((0, 3), np.int64) for _ in CHANNELS], 1.0
    for round_ in count():
        if rule(round_, rng, rounds=settings.rounds, dice_loss=dice_loss, settings=parameters):
            break
        mask = label
        if needs_loss or settings.strategy != "non-corrective":
            logits = predict(placed)
            dice_loss, mask = _dice_loss(logits, label) if needs_loss else 1.0, _mask_of(logits)
        new = strategy(label, mask, rng, draw=settings.draw)
        for kind, voxel in enumerate((new.tumour, new.background)):
            if voxel is not None:
                placed[kind] = np.concatenate([placed[kind], voxel[None]])
    return placed


def _strategy(settings: ClickSettings) -> Strategy:
    strategy = STRATEGIES[settings.strategy]
    if strategy is deepgrow:
        return cast(Strategy, partial(deepgrow, probability=settings.probability))
    return strategy


def _dice_loss(logits: Tensor, label: Tensor) -> float:
    """Return the Dice loss of the tumour's probabilities, which the stopping rules take."""
    loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True)
    return float(loss(logits, label[None, None]))


def _mask_of(logits: Tensor) -> Tensor:
    """Return where tumour is more probable than background: bool [X, Y, Z]."""
    return logits[0, 1] > logits[0, 0]


def _predict_with(placed: Placed, *, crop: Tensor, encoding: ClickEncoding, predict: Predict) -> Tensor:
    return predict(_with_guidance(crop, placed, encoding)[None])


def _with_guidance(crop: Tensor, placed: Placed, encoding: ClickEncoding) -> Tensor:
    """Add guidance channels to a crop [C, X, Y, Z]. Equal clicks count once."""
    shape = triple(crop.shape[1:])
    voxels = {kind: np.unique(of_kind, axis=0) for kind, of_kind in zip(CHANNELS, placed, strict=True)}
    return torch.cat([crop, paint_guidance(voxels, shape, encoding).cut(Box.whole(shape), crop.device)])
