"""The click strategies of SW-FastEdit, as they were meant.

Source: Hadlich et al., Sliding Window FastEdit (2024), and its code, matt3o/AutoPET2-Submission. Each strategy adds at
most one tumour click and one background click a round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor

from swfastedit_core.interactive.simulate.draw import Draw, draw_voxel

TILE = 128  # voxels along each axis
SMOOTH = 1e-5  # of MONAI's Dice loss
Mask = TypeVar("Mask", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Errors(Generic[Mask]):
    """Where a prediction is wrong; bool arrays of its shape.

    Attributes
    ----------
    tumour
        False negatives: a tumour click is missing here.
    background
        False positives: a background click is missing here.
    """

    tumour: Mask
    background: Mask


@dataclass(frozen=True, eq=False)
class NewClicks:
    """The clicks of one round: indices in the order of the axes of the label, int64 [3]; None: no click."""

    tumour: np.ndarray | None
    background: np.ndarray | None


class Strategy(Protocol):
    """How the clicks of a round are placed.

    Parameters
    ----------
    label, prediction
        Arrays or tensors of one shape, three dimensions, in any axis order; voxels that are not 0 are tumour.
    rng
        Random generator.
    draw
        How a voxel of an error region is drawn; see `draw_voxel`.
    """

    def __call__(  # noqa: D102
        self, label: Mask, prediction: Mask, rng: np.random.Generator, *, draw: Draw = "uniform"
    ) -> NewClicks: ...


def error_regions(label: Mask, prediction: Mask) -> Errors[Mask]:
    """Return false negatives and false positives of a prediction; see `Strategy` for the parameters."""
    is_tumour, predicted = label != 0, prediction != 0
    return Errors(tumour=is_tumour & ~predicted, background=~is_tumour & predicted)


def non_corrective(
    label: Mask,
    prediction: Mask,
    rng: np.random.Generator,
    *,
    draw: Draw = "uniform",
) -> NewClicks:
    """Click at a voxel of the label and at a voxel of its background, always uniformly; the prediction is ignored.

    No tumour click if the label is empty.
    """
    return NewClicks(tumour=draw_voxel(label != 0, rng), background=draw_voxel(label == 0, rng))


def corrective(label: Mask, prediction: Mask, rng: np.random.Generator, *, draw: Draw = "uniform") -> NewClicks:
    """Click in a false negative and in a false positive region; no click where there is none."""
    errors = error_regions(label, prediction)
    return NewClicks(
        tumour=draw_voxel(errors.tumour, rng, draw=draw), background=draw_voxel(errors.background, rng, draw=draw)
    )


def patch_corrective(
    label: Mask, prediction: Mask, rng: np.random.Generator, *, draw: Draw = "uniform", tile: int = TILE
) -> NewClicks:
    """Click in the worst tile of the volume for each class.

    Parameters
    ----------
    label, prediction, rng, draw
        See `Strategy`.
    tile
        Side of a tile in voxels. Tiles do not overlap; the last ones are smaller.

    Returns
    -------
    NewClicks
        The tumour click lies in the false negatives of the tile with the largest Dice loss of tumour, the background
        click in the false positives of the tile with the largest Dice loss of background; of equal tiles the first.
        Tiles without such an error do not count, so no click is missing that `corrective` would place.
    """
    errors = error_regions(label, prediction)
    is_tumour, predicted = label != 0, prediction != 0
    return NewClicks(
        tumour=_draw_in_worst(errors.tumour, is_tumour, predicted, rng, draw, tile),
        background=_draw_in_worst(errors.background, ~is_tumour, ~predicted, rng, draw, tile),
    )


def deepgrow(
    label: Mask, prediction: Mask, rng: np.random.Generator, *, draw: Draw = "uniform", probability: float = 0.5
) -> NewClicks:
    """Click as `corrective` with a probability, and not at all otherwise."""
    if rng.random() >= probability:
        return NewClicks(tumour=None, background=None)
    return corrective(label, prediction, rng, draw=draw)


def _draw_in_worst(
    error: Mask, label: Mask, predicted: Mask, rng: np.random.Generator, draw: Draw, tile: int
) -> np.ndarray | None:
    worst, largest = None, -1.0
    for slices in _tiles(error.shape, tile):
        if error[slices].any() and (loss := _dice_loss(label[slices], predicted[slices])) > largest:
            worst, largest = slices, loss
    if worst is None:
        return None
    voxel = draw_voxel(error[worst], rng, draw=draw)
    assert voxel is not None  # the tile has an error
    return np.asarray(voxel + [side.start for side in worst])


def _tiles(shape: tuple[int, ...], tile: int) -> Iterator[tuple[slice, ...]]:
    for starts in product(*(range(0, length, tile) for length in shape)):
        yield tuple(slice(start, start + tile) for start in starts)


def _dice_loss(label: Mask, predicted: Mask) -> float:
    total = int(label.sum()) + int(predicted.sum())
    return 1 - (2 * int((label & predicted).sum()) + SMOOTH) / (total + SMOOTH)


STRATEGIES: dict[str, Strategy] = {
    "non-corrective": non_corrective,
    "corrective": corrective,
    "patch-corrective": patch_corrective,
    "deepgrow": deepgrow,
}
