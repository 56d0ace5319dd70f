"""Preview: which window answers first, and how its logits are mixed with those from before the new clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.blending import UNSEEN_LOGIT
from swfastedit_core.box import Box
from swfastedit_core.windows import WindowPlan

CORE = 0.5  # the inner part of a window, as a share of its side, in which only its own logits count


@dataclass(frozen=True, eq=False)
class Patch:
    """Logits of previews, which are shown instead of the exact ones until the network is settled.

    Attributes
    ----------
    box
        Voxels on the network's grid.
    logits
        float32 [X, Y, Z] of the box.
    """

    box: Box
    logits: Tensor

    def over(self, box: Box, exact: Tensor) -> Tensor:
        """Return the logits of a box with the patch over them.

        Parameters
        ----------
        box
            Voxels on the network's grid.
        exact
            float32 [X, Y, Z] of the box; it is returned itself if the patch does not overlap the box.
        """
        if not self.box.meets(box):
            return exact
        both = box.clipped(self.box)
        shown = exact.clone()
        shown[both.relative_to(box).slices] = self.logits[both.relative_to(self.box).slices]
        return shown


def nearest_window(plan: WindowPlan, voxels: np.ndarray) -> int | None:
    """Return the index of the window with most of the voxels; of these, the one whose centre is nearest to them.

    Parameters
    ----------
    plan
        The network's windows.
    voxels
        Voxels of the network's grid, int64 [N, 3].

    Returns
    -------
    int or None
        None if no window holds a voxel.
    """
    starts = np.array(plan.starts).reshape(-1, 3)
    distance, held = np.zeros(len(starts)), np.zeros(len(starts), np.int64)
    middle = (np.array(plan.window) - 1) / 2
    for voxel in voxels:
        offset = (voxel - starts - middle) / plan.window
        inside = (np.abs(offset) < 0.5).all(axis=1)
        held += inside
        distance += np.where(inside, (offset**2).sum(axis=1), 0.0)
    if not held.any():
        return None
    best = np.flatnonzero(held == held.max())
    return int(best[np.argmin(distance[best])])


def mix(before: Tensor, preview: Tensor, weights: Tensor) -> Tensor:
    """Return the logits to show in a preview's window.

    Parameters
    ----------
    before
        Logits that are shown now, float32 [X, Y, Z]; `UNSEEN_LOGIT` where there are none.
    preview
        The preview's estimate of the exact logits, same shape.
    weights
        From `taper`.
    """
    weights = weights.to(before.device)
    return torch.lerp(torch.where(before == UNSEEN_LOGIT, preview, before), preview, weights)


def taper(window: Box, region: Box, voxels: np.ndarray) -> Tensor:
    """Return the share of a preview's logits in the mixture, for each voxel of its window.

    It is 1 in the inner part of the window and as far as there are clicks, and falls to 0 at the window's faces, as a
    cosine. At a face of the region it does not fall: no logits continue on the other side.

    Parameters
    ----------
    window
        Voxels of the window.
    region
        Voxels of all windows.
    voxels
        The new clicks in the window, int64 [N, 3].

    Returns
    -------
    Tensor
        float32 [X, Y, Z] in [0, 1].
    """
    profiles = []
    for axis in range(3):
        start, stop = window.start[axis], window.stop[axis]
        middle, half = (start + stop - 1) / 2, (stop - start) / 2
        offset = (torch.arange(start, stop) - middle) / half  # in (-1, 1)
        clicks = (voxels[:, axis] - middle) / half
        low = 1.0 if start <= region.start[axis] else max(CORE, -clicks.min(initial=0.0))
        high = 1.0 if stop >= region.stop[axis] else max(CORE, clicks.max(initial=0.0))
        begin = torch.where(offset < 0, low, high)
        ramp = ((offset.abs() - begin) / (1 - begin).clamp(min=1e-6)).clamp(0, 1)
        profiles.append((1 + torch.cos(torch.pi * ramp)) / 2)
    x, y, z = profiles
    return x[:, None, None] * y[:, None] * z
