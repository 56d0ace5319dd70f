"""Scribbles as autoPET V (2026) simulates them: on the largest error of a prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.clicks import ClickKind
from swfastedit_core.interactive.simulate.scribbles import SCRIBBLES
from swfastedit_core.interactive.simulate.strategies import error_regions

IN_SLICE = np.zeros((3, 3, 3), bool)
IN_SLICE[1] = True  # 8 neighbours within an axial slice
STEPS = 6  # of the challenge: one without scribbles, then one scribble each


@dataclass(frozen=True, eq=False)
class Scribble:
    """A scribble in one axial slice.

    Attributes
    ----------
    kind
        Tumour: the prediction misses tumour there.
    voxels_zyx
        int64 [N, 3], N > 0.
    """

    kind: ClickKind
    voxels_zyx: np.ndarray


def draw_scribble(
    label_zyx: np.ndarray, prediction_zyx: np.ndarray, rng: np.random.Generator, *, strategy: str
) -> Scribble | None:
    """Draw the scribble that a step of the challenge adds.

    Parameters
    ----------
    label_zyx, prediction_zyx
        [Z, Y, X]; voxels that are not 0 are tumour.
    rng
        Random generator.
    strategy
        A key of `SCRIBBLES`; the challenge uses each for a third of the cases.

    Returns
    -------
    Scribble or None
        The false negatives and the false positives get a scribble each, on their largest 8-connected component of all
        axial slices (of equal ones the first). The scribble with more voxels is returned, that of tumour if they have
        equally many. None if the prediction is right.

    Notes
    -----
    Source: autoPET V, interactive/interactive_loop.py and simulate_scribbles.py. The original fails, and scores 0 for
    the step, if there are no false positives or no false negatives; here, the other scribble is returned.
    """
    errors = error_regions(label_zyx, prediction_zyx)
    scribble = SCRIBBLES[strategy]
    tumour = _scribbled(errors.tumour, rng, scribble)
    background = _scribbled(errors.background, rng, scribble)
    if not len(tumour) and not len(background):
        return None
    if len(background) > len(tumour):
        return Scribble(ClickKind.BACKGROUND, background)
    return Scribble(ClickKind.TUMOUR, tumour)


def _scribbled(
    error_zyx: np.ndarray, rng: np.random.Generator, scribble: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> np.ndarray:
    box = ndimage.find_objects(error_zyx.view(np.uint8), max_label=1)[0]
    if box is None:
        return np.zeros((0, 3), np.int64)
    depth, *_ = box  # whole slices: at the border of the image, a region has no border
    numbers, _ = ndimage.label(error_zyx[depth], structure=IN_SLICE)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    z = ndimage.find_objects(numbers, max_label=largest)[largest - 1][0].start
    voxels_yx = scribble(numbers[z] == largest, rng)
    return np.insert(voxels_yx, 0, depth.start + z, axis=1)
