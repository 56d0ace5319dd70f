"""A session: one scan that an annotator corrects with clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from swfastedit_core.box import Box
from swfastedit_core.clicks import Click, ClickKind, FileVoxels, file_voxels
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.inferer import infer
from swfastedit_core.network_input import prepare
from swfastedit_core.pipeline import OVERLAP, guidance_for, plan, vote
from swfastedit_core.system.threads import start_in_thread
from swfastedit_core.volume import Volume

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Update:
    """What a preview or a settle changed.

    Attributes
    ----------
    mask
        uint8 [Z, Y, X], 1 = lesion, on the scan's own grid.
    changed_box
        Voxels x, y, z of the file that hold all voxels that differ from the mask before; None if none differs.
    windows
        Windows that ran.
    seconds
        Wall time.
    settled
        Whether the mask is the exact result for the session's clicks.
    outside
        New clicks that lie outside the window of a preview; their effect is seen after `Session.settle`.
    """

    mask: Volume
    changed_box: Box | None
    windows: int
    seconds: float
    settled: bool
    outside: tuple[Click, ...] = ()


class Session:
    """A scan, its networks and the clicks so far.

    Parameters
    ----------
    networks
        From `load_networks`. Networks without guidance channels take part and ignore the clicks.
    pet
        SUV, float32 [Z, Y, X], of any geometry.
    ct, full_grid, overlap, majority, min_lesion_ml
        As in `pipeline.segment`.
    memory_mb
        Memory of the session at most, in MB (10⁶ bytes).

    Raises
    ------
    UserError
        As `pipeline.segment`.
    """

    def __init__(
        self,
        networks: Ensemble,
        pet: Volume,
        *,
        ct: Volume | None = None,
        full_grid: bool = False,
        overlap: float = OVERLAP,
        majority: bool = False,
        min_lesion_ml: float = 0.0,
        memory_mb: float = 2000.0,
    ) -> None:
        self._networks, self._grid = networks, pet.geometry
        self._majority, self._min_lesion_ml = majority, min_lesion_ml
        inputs = prepare(pet, networks, ct=ct)
        self._inputs = [inputs[network.config.preprocessing] for network in networks]
        self._plans = [
            plan(one, network, overlap=overlap, full_grid=full_grid)
            for one, network in zip(self._inputs, networks, strict=True)
        ]
        self._prompts: list[FileVoxels] = []
        self._shown = Update(Volume(np.zeros(self._grid.shape_zyx, np.uint8), self._grid), None, 0, 0.0, False)
        self._windows = sum(len(one.starts) for one in self._plans)

    @property
    def mask(self) -> Volume:
        """The mask of the last update; without lesions before the first one."""
        return self._shown.mask

    @property
    def changed_box(self) -> Box | None:
        """See `Update`; of the last update."""
        return self._shown.changed_box

    @property
    def clicks(self) -> FileVoxels:
        """The clicks so far: for each kind, voxels x, y, z of the file, int64 [N, 3]."""
        return {
            kind: np.concatenate([np.empty((0, 3), np.int64), *(prompt[kind] for prompt in self._prompts)])
            for kind in ClickKind
        }

    def add(self, clicks: Iterable[Click]) -> None:
        """Add a prompt: one click, or the points of a scribble. `undo` takes it back as a whole.

        Raises
        ------
        UserError
            If a click lies outside the scan; the session is unchanged then.
        """
        self._prompts.append(file_voxels(clicks, self._grid))

    def undo(self) -> bool:
        """Take back the last prompt; return whether there was one."""
        return bool(self._prompts and self._prompts.pop())

    def reset(self) -> None:
        """Take back all prompts."""
        self._prompts = []

    def preview(self) -> Update:
        """Return a first answer to the prompts since the last update, after the time of one window per network."""
        return self.settle()

    def settle(self, progress: Progress | None = None) -> Update:
        """Return the exact result for all prompts: the mask that `pipeline.segment` computes.

        Parameters
        ----------
        progress
            Called with the number of finished windows and of windows to compute.
        """
        started = time.perf_counter()
        outputs = []
        for network, one, windows in zip(self._networks, self._inputs, self._plans, strict=True):
            image = one.image[: network.config.channels.image_channels]
            logits = infer(image, windows, network, guidance=guidance_for(network, one.placement, self.clicks))
            outputs.append((logits, windows.region, one.placement))
        mask = vote(outputs, self._networks, self._grid, majority=self._majority, min_lesion_ml=self._min_lesion_ml)
        changed = _box_of(mask.array_zyx != self.mask.array_zyx)
        self._shown = Update(mask, changed, self._windows, time.perf_counter() - started, True)
        return self._shown

    def settle_in_background(self, progress: Progress | None = None) -> Future[Update]:
        """Run `settle` in a thread. The next `add`, `undo`, `reset`, `preview` or `settle` stops it between windows.

        Returns
        -------
        Future
            Of the update. If it was stopped, the update has `settled` False and the mask is unchanged.
        """
        return start_in_thread(lambda: self.settle(progress))


def _box_of(changed_zyx: np.ndarray) -> Box | None:
    """Return the box around the voxels that are True, in x, y, z; None if there is none."""
    start, stop = [], []
    for axis in (2, 1, 0):
        along = np.flatnonzero(changed_zyx.any(axis=tuple(other for other in range(3) if other != axis)))
        if len(along) == 0:
            return None
        start.append(int(along[0]))
        stop.append(int(along[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
