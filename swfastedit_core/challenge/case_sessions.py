"""Sessions of a server's scans: a further call on a scan runs only the windows that its clicks change."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from swfastedit_core.challenge.case import CaseOptions, Progress
from swfastedit_core.clicks import Click
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import DataWarning
from swfastedit_core.interactive.session import Session
from swfastedit_core.interactive.sessions import Sessions
from swfastedit_core.pipeline import Segmentation
from swfastedit_core.preprocess import place
from swfastedit_core.system.stopwatch import Stopwatch
from swfastedit_core.volume import Geometry, Volume
from swfastedit_core.windows import plan_windows


class CaseSessions:
    """Segments scans as `pipeline.segment` does, with logits in half precision that are kept between calls.

    Parameters
    ----------
    networks
        From `load_networks`.
    options
        How scans are segmented.
    memory_mb
        Memory of all sessions, in MB (10⁶ bytes); see `Sessions`.
    """

    def __init__(self, networks: Ensemble, options: CaseOptions, *, memory_mb: float) -> None:
        self._networks, self._options = networks, options
        self._sessions = Sessions(memory_mb)
        self._warnings: WeakKeyDictionary[Session, list[Warning]] = WeakKeyDictionary()  # about the scan

    def segment(
        self, pet: Volume, *, ct: Volume | None, clicks: Iterable[Click], progress: Progress | None
    ) -> Segmentation:
        """Segment a scan.

        Parameters
        ----------
        pet, ct, clicks, progress
            As for `pipeline.segment`. The clicks are all clicks of the scan, not only new ones.

        Raises
        ------
        UserError
            As `pipeline.segment`.
        """
        grid = pet.geometry
        key = (_digest(pet), None if ct is None else _digest(ct))
        with Stopwatch(self._networks.device) as stopwatch:
            session = self._sessions.get(key, partial(self._make, pet, ct))
            del pet, ct
            for warning in self._warnings[session]:
                warnings.warn(warning, stacklevel=2)
            try:
                session.reset()
                session.add(clicks)
                update = session.settle(progress)
            except BaseException:
                self.clear()  # its memory may be what is missing
                raise
        voxels = int(np.count_nonzero(update.mask.array_zyx))
        return Segmentation(
            mask=update.mask,
            lesion_voxels=voxels,
            lesion_ml=voxels * grid.voxel_ml,
            windows=update.windows,
            windows_full_grid=self._windows_full_grid(grid),
            seconds=stopwatch.seconds,
        )

    def clear(self) -> None:
        """Release what is kept of all scans."""
        self._sessions.clear()

    def _make(self, pet: Volume, ct: Volume | None) -> Session:
        options = self._options
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = Session(
                self._networks,
                pet,
                ct=ct,
                full_grid=options.full_grid,
                overlap=options.overlap,
                majority=options.majority,
                min_lesion_ml=options.min_lesion_ml,
            )
        self._warnings[session] = [one.message for one in caught if isinstance(one.message, DataWarning)]
        return session

    def _windows_full_grid(self, grid: Geometry) -> int:
        return sum(
            len(
                plan_windows(
                    place(grid, network.config.preprocessing.spacing_mm).network_shape,
                    window=network.config.window,
                    overlap=self._options.overlap,
                ).starts
            )
            for network in self._networks
        )


def _digest(volume: Volume) -> bytes:
    """Return a digest of voxels and geometry."""
    grid = volume.geometry
    digest = hashlib.blake2b(repr((grid.size_xyz, grid.spacing_mm, grid.origin_mm, grid.direction)).encode())
    digest.update(np.ascontiguousarray(volume.array_zyx).data)
    return digest.digest()
