"""The input of an interactive network in training: clicks in the errors of a prediction, and guidance channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box, triple
from swfastedit_core.guidance import CHANNELS, ClickEncoding, paint_guidance
from swfastedit_core.interactive.simulate.draw import draw_voxel
from swfastedit_core.interactive.simulate.strategies import error_regions
from swfastedit_core.train.crops.click_settings import FROM_ERROR

Predict = Callable[[Tensor], Tensor]


def add_guidance(
    image: Tensor,
    label: Tensor,
    clicks: Tensor,
    *,
    encoding: ClickEncoding,
    predict: Predict,
    rng: np.random.Generator,
) -> Tensor:
    """Return the network's input: the image channels, then the guidance channels.

    Crops with clicks that errors place are predicted once, with their other clicks; each of these clicks then lies at a
    random voxel of the false negatives (tumour) or false positives (background). Where there is no error, there is no
    click.

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
    predict
        Maps an input [1, C + 2, X, Y, Z] to a mask, bool [X, Y, Z], without gradients.
    rng
        Random generator.

    Returns
    -------
    Tensor
        float32 [N, C + 2, X, Y, Z].
    """
    guided = []
    for crop, crop_label, crop_clicks in zip(image, label[:, 0], clicks.numpy(), strict=True):
        placed = [row[(row >= 0).all(axis=1)] for row in crop_clicks]
        left = [int((row == FROM_ERROR).all(axis=1).sum()) for row in crop_clicks]
        whole = _with_guidance(crop, placed, encoding)
        if any(left):
            errors = error_regions(crop_label, predict(whole[None]))
            for kind, region in enumerate((errors.tumour, errors.background)):
                drawn = [draw_voxel(region, rng) for _ in range(left[kind])]
                placed[kind] = np.concatenate([placed[kind], *(voxel[None] for voxel in drawn if voxel is not None)])
            whole = _with_guidance(crop, placed, encoding)
        guided.append(whole)
    return torch.stack(guided)


def _with_guidance(crop: Tensor, clicks: list[np.ndarray], encoding: ClickEncoding) -> Tensor:
    """Add guidance channels to a crop [C, X, Y, Z]."""
    shape = triple(crop.shape[1:])
    voxels = {kind: np.unique(of_kind, axis=0) for kind, of_kind in zip(CHANNELS, clicks, strict=True)}
    return torch.cat([crop, paint_guidance(voxels, shape, encoding).cut(Box.whole(shape), crop.device)])
