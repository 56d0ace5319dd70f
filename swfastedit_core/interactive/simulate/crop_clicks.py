"""Clicks for a training crop, drawn as the winner of autoPET IV does.

Source: MIC-DKFZ/autoPET-interactive, nnunetv2/training/dataloading/utils.py.
"""

from __future__ import annotations

import numpy as np

from swfastedit_core.interactive.simulate.autopet4 import PERCENTILE, Simulated, click_components
from swfastedit_core.interactive.simulate.component import Component, Components, depth_of

NOISY_PERCENTILE = 98.0
SHELL = 3.0  # voxels: nearer to the border, a noisy click is a border click
ATTEMPTS = 10  # to move a click


def crop_clicks(
    label_xyz: np.ndarray,
    suv_xyz: np.ndarray,
    rng: np.random.Generator,
    *,
    tumour: int,
    background: int,
    max_offset: int = 3,
    noisy: float = 0.2,
) -> Simulated:
    """Draw the clicks of a crop from its label and PET.

    Parameters
    ----------
    label_xyz
        [X, Y, Z]; voxels that are not 0 are tumour.
    suv_xyz
        PET, float [X, Y, Z], finite. Only the order of the values matters if the crop is not noisy, so they may be
        scaled; voxels with the smallest value (air, padding) get no background click.
    rng
        Random generator.
    tumour, background
        Number of clicks of each kind.
    max_offset
        Clicks are moved by up to this number of voxels along each axis, in both directions, within their class.
    noisy
        Probability that the crop gets noisy clicks.

    Returns
    -------
    Simulated
        Indices x, y, z. Ordinary clicks are those of `autopet4_clicks`. Noisy tumour clicks: in random components, the
        voxel with the largest a · depth + (1 − a) · noise, first of the whole component, then of its outer 3 voxels.
        Noisy background clicks: voxels above the 98th percentile, drawn with p ∝ PET. No tumour click if the label is
        empty; no background click if all voxels are tumour or all values are equal.
    """
    is_tumour = label_xyz != 0
    if rng.random() < noisy:
        return Simulated(
            tumour=_noisy_tumour(is_tumour, rng, tumour, max_offset),
            background=_noisy_background(is_tumour, suv_xyz, rng, background),
        )
    at_tumour = click_components(Components(is_tumour), rng, budget=tumour) if tumour else _none()
    hot = _hot(is_tumour, suv_xyz, PERCENTILE) if background else np.zeros((1, 1, 1), bool)
    at_background = click_components(Components(hot), rng, budget=background)
    return Simulated(
        tumour=_moved(at_tumour, is_tumour, rng, max_offset),
        background=_moved(at_background, ~is_tumour, rng, max_offset),
    )


def _hot(is_tumour: np.ndarray, suv: np.ndarray, percentile: float) -> np.ndarray:
    """Return the voxels outside of tumours that are at or above a percentile, and not of the smallest value."""
    outside = suv[~is_tumour]
    if not outside.size:
        return np.zeros(suv.shape, bool)
    rank = int(np.ceil(percentile / 100 * (outside.size - 1)))
    threshold = np.partition(outside, rank)[rank]  # as the interpolated percentile, at a third of its time
    return np.asarray((suv >= threshold) & (suv > outside.min()) & ~is_tumour)


def _noisy_tumour(is_tumour: np.ndarray, rng: np.random.Generator, budget: int, max_offset: int) -> np.ndarray:
    components = Components(is_tumour)
    if not components or not budget:
        return _none()
    numbers = rng.choice(len(components), size=min(budget, len(components)), replace=False)
    chosen = [components[number] for number in numbers]
    clicks = []
    for component in chosen:
        voxels, depth = _voxels_and_depth(component.mask, component.depth)
        clicks.append((component, _noisy_deepest(voxels, depth, rng.uniform(0.4, 0.9), rng)))
    shells = [_shell(component) for component in chosen] if budget > len(chosen) else []
    for number in range(budget - len(chosen)):
        component, (voxels, depth) = chosen[number % len(chosen)], shells[number % len(chosen)]
        clicks.append((component, _noisy_deepest(voxels, depth, rng.uniform(0.2, 0.6), rng)))
    moved = [
        component.in_volume(_moved(voxel[None], component.mask, rng, max_offset)[0]) for component, voxel in clicks
    ]
    return np.array(moved, np.int64)


def _shell(component: Component) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of the outer 3 voxels of a component, int64 [N, 3], and their depth in this shell, [N]."""
    shell = component.mask & (component.depth < SHELL)
    return _voxels_and_depth(shell, depth_of(shell))


def _voxels_and_depth(mask: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.argwhere(mask), depth[mask]


def _noisy_deepest(voxels: np.ndarray, depth: np.ndarray, weight: float, rng: np.random.Generator) -> np.ndarray:
    score = weight * depth / depth.max() + (1 - weight) * rng.random(len(depth))
    deepest: np.ndarray = voxels[score.argmax()]
    return deepest


def _noisy_background(is_tumour: np.ndarray, suv: np.ndarray, rng: np.random.Generator, budget: int) -> np.ndarray:
    voxels = np.argwhere(_hot(is_tumour, suv, NOISY_PERCENTILE)) if budget else _none()
    if not len(voxels):
        return _none()
    weights = suv[tuple(voxels.T)].astype(np.float64) - float(suv.min())
    return np.asarray(rng.choice(voxels, size=budget, p=weights / weights.sum()))


def _moved(clicks: np.ndarray, allowed: np.ndarray, rng: np.random.Generator, max_offset: int) -> np.ndarray:
    """Move each click by a random offset within `allowed`; after 10 offsets that lead outside, it stays."""
    if not max_offset or not len(clicks):
        return clicks
    offsets = rng.integers(-max_offset, max_offset + 1, (ATTEMPTS, *clicks.shape))
    places = np.clip(clicks + offsets, 0, np.array(allowed.shape) - 1)
    fits = allowed[tuple(np.moveaxis(places, -1, 0))]
    first = fits.argmax(axis=0)
    moved = places[first, np.arange(len(clicks))]
    return np.where(fits.any(axis=0)[:, None], moved, clicks)


def _none() -> np.ndarray:
    return np.zeros((0, 3), np.int64)
