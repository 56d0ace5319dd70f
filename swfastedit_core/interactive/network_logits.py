"""The logits of one network on one scan, kept up to date with the clicks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.blending import UNSEEN_LOGIT
from swfastedit_core.box import Box
from swfastedit_core.clicks import FileVoxels
from swfastedit_core.engine import Engine
from swfastedit_core.errors import NotFiniteError
from swfastedit_core.guidance import on_network_grid
from swfastedit_core.inferer import infer, stream_windows
from swfastedit_core.interactive.preview import Patch, mix, nearest_window, taper
from swfastedit_core.interactive.window_cache import CachedWindows, OnWindow, WindowCache, WindowKey
from swfastedit_core.network_input import NetworkInput
from swfastedit_core.pipeline import float32_after
from swfastedit_core.planning import clicks_outside, guidance_for, within
from swfastedit_core.postprocess import Votes
from swfastedit_core.preprocess import file_box, network_box
from swfastedit_core.windows import WindowPlan


class NetworkLogits:
    """The windows of a network and their blended logits.

    Logits are rounded to half precision before they are blended, whether they come from the cache or not. So the
    result does not depend on what is in the cache.

    Parameters
    ----------
    number
        Of the network in the ensemble.
    engine
        The network.
    prepared
        The scan.
    plan
        The windows.
    clicks
        The first clicks, voxels of the file.
    cache
        Keeps logits of windows.
    """

    def __init__(
        self,
        number: int,
        engine: Engine,
        prepared: NetworkInput,
        *,
        plan: WindowPlan,
        clicks: FileVoxels,
        cache: WindowCache,
    ) -> None:
        self._number, self._engine, self._cache = number, engine, cache
        self._plan, self._placement = plan, prepared.placement
        self._image = prepared.image[: engine.config.channels.image_channels]
        self._guidance = guidance_for(engine, prepared.placement, clicks)
        self._digests = [b""] * len(plan.boxes)  # of the guidance in each window
        self._update_digests(range(len(plan.boxes)))
        self._settled: list[bytes] | None = None  # the digests for which `_logits` were computed
        unseen = torch.tensor(UNSEEN_LOGIT, device=engine.device)
        self._logits = unseen.expand(plan.region.shape)  # float32, of plan.region; a view of one value until `settle`
        self._patch: Patch | None = None
        self._unvoted: Box | None = None  # voxels whose logits changed since the last vote

    @property
    def used_bytes(self) -> int:
        """Memory of the blended logits, without the cache; it counts already before they are computed."""
        x, y, z = self._plan.region.shape
        return 4 * x * y * z + (0 if self._patch is None else self._patch.logits.nbytes)

    @property
    def all_windows_bytes(self) -> int:
        """Memory of the logits of all windows in the cache."""
        return 2 * len(self._plan.boxes) * math.prod(self._plan.window)

    @property
    def takes_clicks(self) -> bool:
        """Whether the network takes clicks."""
        return self._guidance is not None

    @property
    def missing(self) -> int:
        """Number of windows that `settle` has to run."""
        region = self._outdated
        return 0 if region is None else sum(key not in self._cache for key in self._keys(region).values())

    @property
    def outdated(self) -> bool:
        """Whether the logits are not those for the clicks."""
        return self._outdated is not None

    def set_clicks(self, clicks: FileVoxels) -> None:
        """Set the clicks, voxels of the file."""
        before, self._guidance = self._guidance, guidance_for(self._engine, self._placement, clicks)
        if before is not None and self._guidance is not None:
            changed = self._guidance.changed_from(before)
            self._update_digests(i for i, box in enumerate(self._plan.boxes) if within(changed, box).any())

    def settle(self, on_window: OnWindow) -> None:
        """Compute the exact logits for the clicks.

        If it ends early, by an error of a network or of `on_window`, the windows that ran stay in the cache.

        Parameters
        ----------
        on_window
            Called after each window that ran.
        """
        if self._outdated is not None:
            self._repeat_if_overflow(lambda: self._settle(on_window))
        if self._patch is not None:
            self._mark(self._patch.box)
            self._patch = None

    def preview(self, new: FileVoxels, on_window: OnWindow) -> Box | None:
        """Run the window nearest to new clicks and show what it changes.

        Parameters
        ----------
        new
            Clicks that were added or taken back, voxels of the file.
        on_window
            As for `settle`.

        Returns
        -------
        Box or None
            The window; None if no window holds a click.
        """
        voxels = on_network_grid(np.concatenate(list(new.values())), self._placement)
        index = nearest_window(self._plan, voxels)
        if index is None:
            return None
        self._repeat_if_overflow(lambda: self._preview(index, voxels, on_window))
        return self._plan.boxes[index]

    def outside(self, clicks: FileVoxels, windows: Iterable[Box] | None = None) -> FileVoxels:
        """Return the clicks, voxels of the file, that no window holds. None: the windows of the plan."""
        return clicks_outside(clicks, self._plan.boxes if windows is None else windows, self._placement)

    @property
    def unvoted(self) -> Box | None:
        """Voxels of the file whose vote may have changed since `voted`; None if there are none."""
        if self._unvoted is None:
            return None
        box = file_box(self._unvoted, self._plan.region, self._placement)
        return None if 0 in box.shape else box

    def voted(self) -> None:
        """Record that all votes are counted."""
        self._unvoted = None

    def vote(self, votes: Votes, part: Box) -> None:
        """Vote on a part of the file; where there are no logits, for background."""
        box = network_box(part, self._placement).clipped(self._plan.region)
        if 0 not in box.shape:
            votes.add(self._shown(box), box, self._placement)

    @property
    def _outdated(self) -> Box | None:
        """The box around the windows whose guidance is not that of the logits; None if there is none."""
        boxes = self._plan.boxes
        if self._settled is not None:
            pairs = zip(boxes, self._digests, self._settled, strict=True)
            boxes = tuple(box for box, wanted, settled in pairs if wanted != settled)
        return Box.around(boxes).clipped(self._plan.region) if boxes else None

    def _update_digests(self, indices: Iterable[int]) -> None:
        if self._guidance is not None:
            for index in indices:
                self._digests[index] = self._guidance.digest(self._plan.boxes[index])

    def _settle(self, on_window: OnWindow) -> None:
        region = self._outdated
        assert region is not None
        windows = CachedWindows(self._keys(region), self._cache, self._engine, on_window)
        logits = infer(self._image, self._plan, self._engine, guidance=self._guidance, region=region, store=windows)
        if region == self._plan.region:
            self._logits = logits
        else:
            self._logits[region.relative_to(self._plan.region).slices] = logits
        self._settled = list(self._digests)
        self._mark(region)

    def _preview(self, index: int, voxels: np.ndarray, on_window: OnWindow) -> None:
        """Run a window, from the cache if it is there, and mix its logits with those that are shown."""
        windows = CachedWindows({index: self._key(index, self._digests)}, self._cache, self._engine, on_window)
        logits = windows.take(index)
        if logits is None:
            stream = stream_windows(self._image, self._plan, self._engine, [index], guidance=self._guidance)
            (logits,) = (windows.keep(index, one) for one in stream)
        window = self._plan.boxes[index]
        box = window.clipped(self._plan.region)
        part = box.relative_to(window).slices
        weights = taper(window, self._plan.region, voxels[within(voxels, window)])[part]
        mixed = mix(self._shown(box), self._estimate(index, logits[part], box, part), weights)
        patch_box = box if self._patch is None else Box.around((box, self._patch.box))
        shown = self._shown(patch_box).clone()
        shown[box.relative_to(patch_box).slices] = mixed
        self._patch = Patch(patch_box, shown)
        self._mark(box)

    def _estimate(self, index: int, new: Tensor, box: Box, part: tuple[slice, slice, slice]) -> Tensor:
        """Return a preview's estimate of the exact logits.

        If the same window's logits from before are in the cache, it is the exact logits from before plus the
        difference. Otherwise it is the window's logits, which is several times less accurate: the exact ones are the
        mean of many windows.
        """
        new = new.to(self._logits.device, torch.float32)
        before = None if self._settled is None else self._cache.get(self._key(index, self._settled))
        if before is None:
            return new
        return self._exact(box) + (new - before[part].to(new.device, torch.float32))

    def _repeat_if_overflow(self, run: Callable[[], None]) -> None:
        """Run a network; if float16 overflows and the user did not choose it, use float32 from now on."""
        try:
            run()
        except NotFiniteError as error:
            self._engine = float32_after(error, self._engine)
            self._cache.discard(self._number)
            self._settled = None
            run()

    def _keys(self, region: Box) -> dict[int, WindowKey]:
        """Return the keys of the windows that overlap a region, by index."""
        return {i: self._key(i, self._digests) for i, box in enumerate(self._plan.boxes) if box.meets(region)}

    def _key(self, index: int, digests: list[bytes]) -> WindowKey:
        return WindowKey(self._number, index, digests[index])

    def _exact(self, box: Box) -> Tensor:
        """Return the exact logits of a box inside the region, as a view."""
        return self._logits[box.relative_to(self._plan.region).slices]

    def _shown(self, box: Box) -> Tensor:
        """Return the logits of a box inside the region, those of previews where there are any."""
        return self._exact(box) if self._patch is None else self._patch.over(box, self._exact(box))

    def _mark(self, box: Box) -> None:
        """Record that logits changed."""
        self._unvoted = box if self._unvoted is None else Box.around((box, self._unvoted))
