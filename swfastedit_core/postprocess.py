"""From logits to a mask: the vote of each network, on the file's grid, and the decision of the ensemble."""

from __future__ import annotations

import torch
from torch import Tensor

from swfastedit_core.box import Box
from swfastedit_core.preprocess import Placement, restore_slabs
from swfastedit_core.system.stopwatch import timed
from swfastedit_core.volume import Geometry


def hard_vote(logits: Tensor) -> Tensor:
    """Return one network's argmax: uint8, 1 where the tumour logit is above the background logit; same shape."""
    return (logits > 0).to(torch.uint8)


def probability(logits: Tensor) -> Tensor:
    """Return one network's softmax: float32, probability of tumour; same shape."""
    return torch.sigmoid(logits)


def consensus(total: Tensor, networks: int) -> Tensor:
    """Return the mask of an ensemble: tumour where the mean of the votes or probabilities is above one half.

    Parameters
    ----------
    total
        Sum of `hard_vote` (majority vote; a tie is background) or of `probability` (mean of probabilities).
    networks
        Number of networks in the sum.

    Returns
    -------
    Tensor
        bool, same shape and device.
    """
    # Whole numbers are compared as such: a fraction would make float32 of them, three times as slow.
    return total > (networks / 2 if total.is_floating_point() else networks // 2)


class Votes:
    """The votes of an ensemble for each voxel of the file's grid, or of a part of it.

    Parameters
    ----------
    grid
        Grid of the file.
    networks
        Number of networks that will vote.
    majority
        Count votes instead of averaging probabilities. With one network, both give the same mask.
    device
        Device of the votes.
    part
        Voxels x, y, z of the file to vote on; None: all.
    """

    def __init__(
        self, grid: Geometry, *, networks: int, majority: bool, device: torch.device, part: Box | None = None
    ) -> None:
        self._networks = networks
        self._part = Box.whole(grid.size_xyz) if part is None else part
        self._vote = hard_vote if majority or networks == 1 else probability
        dtype = torch.uint8 if self._vote is hard_vote else torch.float32
        self._total = torch.zeros(self._part.shape[::-1], dtype=dtype, device=device)

    @timed("restore")
    def add(self, logits: Tensor, region: Box, placement: Placement) -> None:
        """Add a network's vote.

        Parameters
        ----------
        logits
            float32 [X, Y, Z] of the region. Outside the region, the network votes for background.
        region
            Box on the network's grid.
        placement
            Relation of the network's grid to the file's grid.
        """
        for logits_zyx, slab in restore_slabs(logits, region, placement):
            inside = slab.clipped(self._part)
            if 0 not in inside.shape:
                x, y, z = inside.relative_to(self._part).slices
                to_x, to_y, to_z = inside.relative_to(slab).slices
                self._total[z, y, x] += self._vote(logits_zyx[to_z, to_y, to_x]).to(self._total.device)

    def decide(self) -> Tensor:
        """Return the mask of the ensemble, bool [Z, Y, X] of the part."""
        return consensus(self._total, self._networks)
