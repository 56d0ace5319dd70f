"""A session: one scan that an annotator corrects with clicks."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from threading import Event, Lock

from swfastedit_core.box import Box
from swfastedit_core.clicks import Click, FileVoxels, file_voxels
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.interactive.network_logits import NetworkLogits
from swfastedit_core.interactive.prompts import differences, merged
from swfastedit_core.interactive.updates import Run, StoppedError, Update
from swfastedit_core.interactive.voted_mask import VotedMask
from swfastedit_core.interactive.window_cache import WindowCache
from swfastedit_core.network_input import prepare
from swfastedit_core.pipeline import Progress
from swfastedit_core.planning import (
    OVERLAP,
    plan,
    warn_of_clicks_outside,
    warn_of_missing_ct,
    warn_of_unused_clicks,
)
from swfastedit_core.system.threads import start_in_thread
from swfastedit_core.volume import Volume

MEMORY_MB = 2000.0


class Session:
    """A scan, its networks and the clicks so far.

    The logits of windows are kept in half precision. A click computes only the windows in which it changes the
    guidance; `undo` and `reset` compute none, if there was memory for all windows. All methods may be called by several
    threads.

    Parameters
    ----------
    networks
        From `load_networks`. Networks without guidance channels ignore the clicks.
    pet
        SUV, float32 [Z, Y, X], of any geometry. It is not kept.
    ct, full_grid, overlap, majority, min_lesion_ml
        As for `pipeline.segment`.
    memory_mb
        Memory in MB (10⁶ bytes) for what is kept between updates: network input, logits and masks. If it is too small,
        more windows run. Network input, blended logits and masks are kept in any case.

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
        memory_mb: float = MEMORY_MB,
    ) -> None:
        self._ensemble, self._grid = networks, pet.geometry
        self._mask = VotedMask(pet.geometry, majority=majority, min_lesion_ml=min_lesion_ml)
        inputs = prepare(pet, networks, ct=ct)
        warn_of_missing_ct(inputs, networks, self._grid, None if ct is None else ct.geometry)
        self._cache = WindowCache(0)
        self._networks: list[NetworkLogits] = []
        for number, network in enumerate(networks):
            prepared = inputs[network.config.preprocessing]
            windows = plan(prepared, network, overlap=overlap, full_grid=full_grid)
            logits = NetworkLogits(number, network, prepared, plan=windows, clicks=merged(()), cache=self._cache)
            self._networks.append(logits)
        self._image_bytes = sum(one.image.nbytes for one in inputs.values())
        self._limit_bytes = int(1e6 * memory_mb)
        self._fit_into_memory()
        self._running = Lock()  # held while windows run
        self._state = Lock()  # held for moments, for what follows
        self._prompts: tuple[FileVoxels, ...] = ()
        self._stop = Event()  # stops the settle in the background
        self._shown_clicks = merged(())  # of the last update
        self._shown = Update(self._mask.volume, None, 0, 0.0, settled=False, outside=merged(()))

    @property
    def mask(self) -> Volume:
        """The mask of the last update, uint8 [Z, Y, X]; without lesions before the first one."""
        return self._shown.mask

    @property
    def changed_box(self) -> Box | None:
        """See `Update`; of the last update."""
        return self._shown.changed_box

    @property
    def clicks(self) -> FileVoxels:
        """The clicks so far: for each kind, voxels x, y, z of the file, int64 [N, 3]."""
        return merged(self._prompts)

    @property
    def used_bytes(self) -> int:
        """Memory of what is kept."""
        return self._always_kept_bytes + self._cache.used_bytes

    @property
    def wanted_bytes(self) -> int:
        """Memory with which `undo` of a click runs no window: for the logits of all windows, without and with it."""
        return self._always_kept_bytes + 2 * sum(network.all_windows_bytes for network in self._networks)

    def add(self, clicks: Iterable[Click]) -> None:
        """Add a prompt: a click, or the points of a scribble. `undo` takes it back as a whole.

        Raises
        ------
        UserError
            If a click lies outside the scan; nothing is added then.

        Warns
        -----
        DataWarning
            If clicks lie outside all windows of a network; with the first prompt, if networks take no clicks.
        """
        prompt = file_voxels(clicks, self._grid)
        if not self._prompts:
            warn_of_unused_clicks(prompt, self._ensemble)
        warn_of_clicks_outside(self._outside(prompt))
        with self._state:
            self._change((*self._prompts, prompt))

    def undo(self) -> bool:
        """Take back the last prompt; return whether there was one."""
        with self._state:
            there_was_one = bool(self._prompts)
            self._change(self._prompts[:-1])
            return there_was_one

    def reset(self) -> None:
        """Take back all prompts."""
        with self._state:
            self._change(())

    def preview(self) -> Update:
        """Return a first answer to the prompts since the last update, after the time of one window of each network.

        The window is the one of the plan that holds most of the new clicks; of several, the one whose centre is
        nearest to them. If no network has more than one window to run, the result is exact.

        Raises
        ------
        UserError
            As `pipeline.segment`.
        """
        self.stop()
        with self._running:
            run = Run()
            prompts, clicks = self._set_clicks()
            if all(network.missing <= 1 for network in self._networks):
                return self._settle(prompts, run)
            self._ensemble.wait()
            new, windows = differences(clicks, self._shown_clicks), []
            for network in self._networks:
                if network.outdated:
                    windows.append((network, network.preview(new, run)))
            outside = [network.outside(new, [] if box is None else [box]) for network, box in windows]
            return self._show(prompts, run, settled=False, outside=merged(outside))

    def settle(self, progress: Progress | None = None) -> Update:
        """Return the exact result for all prompts: that of `pipeline.segment`, with logits in half precision.

        Parameters
        ----------
        progress
            Called after each window with the number of finished windows and of windows to run.

        Raises
        ------
        UserError
            As `pipeline.segment`. Windows that ran are not lost.
        """
        self.stop()
        return self._run_to_settle(Run(progress))

    def settle_in_background(self, progress: Progress | None = None) -> Future[Update]:
        """Run `settle` in a thread. The next `add`, `undo`, `reset`, `preview` or `settle` stops it between windows.

        Parameters
        ----------
        progress
            As for `settle`; it is called in the thread.

        Returns
        -------
        Future
            Its result, or its error. If it was stopped, the mask is that of the last update and `settled` is False;
            the windows that ran are not lost.
        """
        run = Run(progress, self.stop())
        return start_in_thread(lambda: self._run_to_settle(run))

    def stop(self) -> Event:
        """Stop a settle in the background, after the windows that are running; return the next one's event."""
        with self._state:
            return self._renew_stop()

    def limit_memory(self, limit_bytes: int) -> None:
        """Set the memory for what is kept, in place of `memory_mb`, and drop logits that are above it."""
        self._limit_bytes = limit_bytes
        self._fit_into_memory()

    def _change(self, prompts: tuple[FileVoxels, ...]) -> None:
        """Set the prompts; the caller holds the lock of the state."""
        self._prompts = prompts
        self._renew_stop()

    def _renew_stop(self) -> Event:
        self._stop.set()
        self._stop = Event()
        return self._stop

    def _set_clicks(self) -> tuple[tuple[FileVoxels, ...], FileVoxels]:
        """Bring the networks to the present clicks; return the prompts and the clicks."""
        prompts = self._prompts
        clicks = merged(prompts)
        for network in self._networks:
            network.set_clicks(clicks)
        return prompts, clicks

    def _run_to_settle(self, run: Run) -> Update:
        with self._running:
            try:
                run.raise_if_stopped()
                prompts, _ = self._set_clicks()
                return self._settle(prompts, run)
            except StoppedError:
                return replace(self._shown, changed_box=None, windows=run.windows, seconds=run.seconds, settled=False)

    def _settle(self, prompts: tuple[FileVoxels, ...], run: Run) -> Update:
        self._ensemble.wait()
        run.to_run = sum(network.missing for network in self._networks)
        for network in self._networks:
            network.settle(run)
        return self._show(prompts, run, settled=True, outside=merged(self._outside(merged(prompts))))

    def _outside(self, clicks: FileVoxels) -> list[FileVoxels]:
        """Return the clicks outside all windows, for each network that takes clicks."""
        return [network.outside(clicks) for network in self._networks if network.takes_clicks]

    def _show(self, prompts: tuple[FileVoxels, ...], run: Run, *, settled: bool, outside: FileVoxels) -> Update:
        """Update the mask."""
        changed = self._mask.update(self._networks, self._ensemble.device)
        self._fit_into_memory()
        self._shown_clicks = merged(prompts)
        settled = settled and prompts is self._prompts
        self._shown = Update(self._mask.volume, changed, run.windows, run.seconds, settled, outside)
        return self._shown

    @property
    def _always_kept_bytes(self) -> int:
        networks = sum(network.used_bytes for network in self._networks)
        return self._image_bytes + networks + self._mask.used_bytes

    def _fit_into_memory(self) -> None:
        self._cache.limit(max(self._limit_bytes - self._always_kept_bytes, 0))
