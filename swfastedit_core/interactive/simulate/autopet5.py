"""Scribbles as autoPET V (2026) simulates them: on the largest error of a prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.clicks import ClickKind
from swfastedit_core.interactive.simulate.component import slices_around
from swfastedit_core.interactive.simulate.scribbles import NEIGHBOURS_8, SCRIBBLES
from swfastedit_core.interactive.simulate.strategies import error_regions

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
    z, region_yx = _largest_region(error_zyx)
    if not region_yx.any():
        return np.zeros((0, 3), np.int64)
    return np.insert(scribble(region_yx, rng), 0, z, axis=1)


def _largest_region(error_zyx: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the slice with the largest component, and this component in the whole slice: bool [Y, X]."""
    best, largest, region = 0, 0, np.zeros(error_zyx.shape[1:], bool)
    for z in np.flatnonzero(error_zyx.any(axis=(1, 2))):
        box = slices_around(error_zyx[z])
        numbers, _ = ndimage.label(error_zyx[z][box], structure=NEIGHBOURS_8)
        sizes = np.bincount(numbers.ravel())
        sizes[0] = 0
        if sizes.max() > largest:
            best, largest, region = int(z), int(sizes.max()), np.zeros_like(region)
            region[box] = numbers == sizes.argmax()
    return best, region
