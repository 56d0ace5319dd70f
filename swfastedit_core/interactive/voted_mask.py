"""The mask of a session: only the part that changed is voted on again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from swfastedit_core.box import Box, triple
from swfastedit_core.components import remove_small_components
from swfastedit_core.interactive.network_logits import NetworkLogits
from swfastedit_core.postprocess import Votes
from swfastedit_core.volume import Geometry, Volume


class VotedMask:
    """The decision of an ensemble, on the file's grid.

    Parameters
    ----------
    grid
        Of the file.
    majority, min_lesion_ml
        As for `pipeline.segment`.

    Attributes
    ----------
    volume
        uint8 [Z, Y, X], 1 = lesion; without lesions before the first update. An update replaces the array.
    """

    def __init__(self, grid: Geometry, *, majority: bool, min_lesion_ml: float) -> None:
        self._grid, self._majority = grid, majority
        self._min_voxels = min_lesion_ml / grid.voxel_ml
        self._voted = np.zeros(grid.shape_zyx, bool)  # with small components
        self.volume = Volume(np.zeros(grid.shape_zyx, np.uint8), grid)

    @property
    def used_bytes(self) -> int:
        """Memory of the arrays."""
        return self._voted.nbytes + self.volume.array_zyx.nbytes

    def update(self, networks: Sequence[NetworkLogits], device: torch.device) -> Box | None:
        """Vote on the voxels whose logits changed.

        Parameters
        ----------
        networks
            The ensemble.
        device
            Device of the votes.

        Returns
        -------
        Box or None
            Voxels x, y, z of the file around those that changed; None if none did.
        """
        boxes = [network.unvoted for network in networks]
        parts = [box for box in boxes if box is not None]
        if not parts:
            return None
        part = Box.around(parts)
        votes = Votes(self._grid, networks=len(networks), majority=self._majority, device=device, part=part)
        for network in networks:
            network.vote(votes, part)
        x, y, z = part.slices
        self._voted[z, y, x] = votes.decide().cpu().numpy()
        for network in networks:
            network.voted()
        return self._replace(part)

    def _replace(self, part: Box) -> Box | None:
        """Make the new mask from the votes, which changed in a part of it; return the box around the changes."""
        before, mask = self.volume.array_zyx, self._voted
        if self._min_voxels > 0:
            mask = remove_small_components(torch.from_numpy(mask), min_voxels=self._min_voxels).numpy()
            part = Box.whole(self._grid.size_xyz)  # a component may reach far
        after = mask.astype(np.uint8)
        self.volume = Volume(after, self._grid)
        x, y, z = part.slices
        changed = box_around(after[z, y, x] != before[z, y, x])
        return None if changed is None else changed.shifted(part.start)


def box_around(mask_zyx: np.ndarray) -> Box | None:
    """Return the box, in x, y, z, around the voxels that are True; None if there is none."""
    along = [np.flatnonzero(mask_zyx.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    if len(along[0]) == 0:
        return None
    return Box(triple(a[0] for a in along), triple(a[-1] + 1 for a in along))
