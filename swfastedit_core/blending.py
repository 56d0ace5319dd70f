"""Blending: the weighted mean of the logits of overlapping windows."""

from __future__ import annotations

import torch
from torch import Tensor

from swfastedit_core.box import Box, Triple

SIGMA_SCALE = 0.125  # of the window's side, as in MONAI and nnU-Net
MIN_WEIGHT = 1e-3  # smallest weight of a voxel, as in MONAI
UNSEEN_LOGIT = -30.0  # of voxels without a window: probability 1e-13


def gaussian_weights(window: Triple) -> Tensor:
    """Return the weight of each voxel of a window: MONAI's Gaussian importance map, bit for bit.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] in [0.001, 1].
    """
    weights = torch.ones(())
    for side in window:
        distance = torch.arange(-(side - 1) / 2.0, (side - 1) / 2.0 + 1, dtype=torch.float32)
        profile = torch.exp(distance**2 / (-2 * (SIGMA_SCALE * side) ** 2))
        weights = weights.unsqueeze(-1) * profile
    return weights.clamp_(min=max(weights.min().item(), MIN_WEIGHT))


class Blend:
    """The weighted sum of window logits over a region of the image.

    Parameters
    ----------
    region
        Voxels to blend. Parts of windows outside the region are ignored.
    window
        Sides of every window.
    device
        Device of the sum.
    """

    def __init__(self, region: Box, *, window: Triple, device: torch.device) -> None:
        self._region = region
        self._sum = torch.zeros(region.shape, device=device)
        self._weights = gaussian_weights(window).to(device)
        self._windows: list[Box] = []

    @property
    def device(self) -> torch.device:
        """Device of the sum."""
        return self._sum.device

    def to(self, device: torch.device) -> None:
        """Move the sum to another device."""
        self._sum, self._weights = self._sum.to(device), self._weights.to(device)

    def add(self, window: Box, logits: Tensor) -> None:
        """Add a window.

        Parameters
        ----------
        window
            Its voxels in the image.
        logits
            [X, Y, Z] of the window, of any float type, on any device.
        """
        inside = window.clipped(self._region)
        part = inside.relative_to(window).slices
        values = logits[part].to(self.device, self._sum.dtype)
        self._sum[inside.relative_to(self._region).slices].addcmul_(values, self._weights[part])
        self._windows.append(window)

    def divide_by_weights(self) -> Tensor:
        """Return the weighted mean. It is computed in place, so no window can be added afterwards.

        The weights are summed slab by slab. For the whole region at once they would need as much memory as the logits.

        Returns
        -------
        Tensor
            float32 [X, Y, Z] of the region, `UNSEEN_LOGIT` in voxels without a window.
        """
        thickness = max(self._weights.shape[0] // 4, 1)
        first, last = self._region.start[0], self._region.stop[0]
        for low in range(first, last, thickness):
            (_, y0, z0), (_, y1, z1) = self._region.start, self._region.stop
            slab = Box((low, y0, z0), (min(low + thickness, last), y1, z1))
            logits = self._sum[slab.relative_to(self._region).slices]
            total = torch.zeros_like(logits)
            for window in self._windows:
                if window.meets(slab):
                    part = window.clipped(slab)
                    total[part.relative_to(slab).slices] += self._weights[part.relative_to(window).slices]
            logits.div_(total).masked_fill_(total == 0, UNSEEN_LOGIT)
        return self._sum
