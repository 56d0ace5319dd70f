"""Clicks as autoPET IV (2025), task 1, simulates them: from label and PET, independent of any prediction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from swfastedit_core.interactive.simulate.component import Components

SEED = 42  # of the challenge
BUDGET = 10  # clicks of each kind
PERCENTILE = 99.75  # of the SUV outside of tumours: above, background is worth a click


@dataclass(frozen=True, eq=False)
class Simulated:
    """Clicks in the order in which an annotator gives them.

    Attributes
    ----------
    tumour, background
        int64 [N, 3], indices in the order of the axes of the label; N may be 0.
    """

    tumour: np.ndarray
    background: np.ndarray


def autopet4_clicks(
    label_zyx: np.ndarray,
    suv_zyx: np.ndarray,
    rng: np.random.Generator,
    *,
    budget: int = BUDGET,
    max_offset: int = 0,
) -> Simulated:
    """Simulate the clicks of a case. Step i of the challenge, 0 to 10, has the first i of each kind.

    Parameters
    ----------
    label_zyx
        [Z, Y, X]; voxels that are not 0 are tumour.
    suv_zyx
        PET, float [Z, Y, X], finite. Only the order of its values matters, so the unit may be any.
    rng
        Random generator; `np.random.default_rng(SEED)` for each case, as in the challenge.
    budget
        Clicks of each kind.
    max_offset
        Each click is moved by 0 to `max_offset` voxels along each axis, unless it would leave its class or the volume.

    Returns
    -------
    Simulated
        For tumour: the deepest voxel of up to `budget` random 26-connected components; then, in the same order of the
        components and again until the budget is spent, random voxels of their border. For background: the same in
        the components of the voxels outside of tumours whose SUV is above the 99.75 percentile of these voxels. No
        tumour click if the label is empty; no background click if no voxel is above the percentile.

    Notes
    -----
    Source: lab-midas/autoPETCTIV, clicks/simulate_clicks.py. The clicks are drawn from the same distribution; they are
    not the published ones voxel for voxel, since those come from numpy's legacy generator. One difference: where there
    are fewer than `budget` background components, which whole-body scans hardly have, the original draws the other
    background clicks from all voxels of a component, or, if it is one voxel thin, from the whole volume.
    """
    is_tumour = label_zyx != 0
    tumour = click_components(Components(is_tumour), rng, budget=budget)
    background = click_components(Components(hot_background(is_tumour, suv_zyx)), rng, budget=budget)
    if max_offset:
        tumour = _moved(tumour, is_tumour, rng, max_offset)
        background = _moved(background, ~is_tumour, rng, max_offset)
    return Simulated(tumour=tumour, background=background)


def hot_background(is_tumour: np.ndarray, suv: np.ndarray) -> np.ndarray:
    """Return the voxels outside of tumours whose SUV is above the 99.75 percentile of these voxels; bool."""
    outside = suv[~is_tumour]
    if not outside.size:
        return np.zeros(suv.shape, bool)
    return np.asarray((suv > np.percentile(outside, PERCENTILE)) & ~is_tumour)


def click_components(components: Components, rng: np.random.Generator, *, budget: int) -> np.ndarray:
    """Click at the deepest voxels of random components, then at their borders; int64 [budget, 3], or [0, 3]."""
    numbers = rng.choice(len(components), size=min(budget, len(components)), replace=False)
    chosen = [components[number] for number in numbers]
    clicks = [component.deepest for component in chosen]
    turns = islice(cycle(chosen), max(budget - len(chosen), 0))
    clicks += [rng.choice(component.border) for component in turns]
    return np.array(clicks, np.int64).reshape(-1, 3)


def _moved(clicks: np.ndarray, allowed: np.ndarray, rng: np.random.Generator, max_offset: int) -> np.ndarray:
    moved = clicks + rng.integers(0, max_offset + 1, clicks.shape)
    keep = np.asarray((moved < allowed.shape).all(axis=1))
    keep[keep] = allowed[tuple(moved[keep].T)]
    return np.where(keep[:, None], moved, clicks)
