"""Sliding-window inference: windows × engine → one map of logits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from swfastedit_core.blending import Blend
from swfastedit_core.box import Box, Triple
from swfastedit_core.checkpoint import Channels
from swfastedit_core.engine import Engine, free_bytes
from swfastedit_core.errors import NotFiniteError, UserError, WindowTooLargeError, is_out_of_memory
from swfastedit_core.guidance import Guidance
from swfastedit_core.system.stopwatch import timed
from swfastedit_core.windows import WindowPlan

logger = logging.getLogger(__name__)

# Logits are blended on the GPU if free memory is at least this many times their size, plus the memory for one window.
HEADROOM = 2

Progress = Callable[[int], None]


class WindowStore(Protocol):
    """Keeps logits of windows, so that they need not be computed again."""

    def take(self, index: int) -> Tensor | None:
        """Return the logits [X, Y, Z] of a window of the plan, of any float type; None if they are not kept."""
        ...

    def keep(self, index: int, logits: Tensor) -> Tensor:
        """Receive the logits of a window that ran; return what is blended, of any float type.

        The tensor, float32 [X, Y, Z], is reused after the call: copy it.
        """
        ...


@timed("network")
def infer(
    image: Tensor,
    plan: WindowPlan,
    engine: Engine,
    *,
    guidance: Guidance | None = None,
    progress: Progress | None = None,
    region: Box | None = None,
    store: WindowStore | None = None,
) -> Tensor:
    """Run the planned windows and blend them.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z] on the engine's device: PET, and CT if the network takes one.
    plan
        Made for this image's shape. Voxels of a window beyond the image are 0.
    engine
        The network.
    guidance
        For a network that takes clicks; None: no clicks.
    progress
        Called after each window with the count of finished windows.
    region
        Voxels to blend; None: ``plan.region``. Windows that do not overlap it are skipped. The result equals this part
        of the whole one, bit for bit.
    store
        Windows whose logits it has are not run; it receives the logits of the others.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] of the region: tumour logit minus background logit, -30 in voxels without a window.

    Raises
    ------
    UserError
        If the memory is too small for one window.
    NotFiniteError
        If the network's output is not finite (float16 overflow).
    ValueError
        If the image has another shape than the plan's, or another number of channels than the network takes.
    """
    channels = engine.config.channels
    if tuple(image.shape) != (channels.image_channels, *plan.image):
        raise ValueError(f"image {tuple(image.shape)} [C, X, Y, Z], expected {(channels.image_channels, *plan.image)}")
    region = plan.region if region is None else region
    wanted = [index for index, box in enumerate(plan.boxes) if box.meets(region)]
    kept = {} if store is None else {index: store.take(index) for index in wanted}
    blend = _blend(region, plan.window, engine)
    done = 0
    while done < len(wanted):
        left = wanted[done:]
        try:
            stream = stream_windows(image, plan, engine, (i for i in left if kept.get(i) is None), guidance=guidance)
            for index in left:
                logits = kept.get(index)
                if logits is None:
                    logits = next(stream) if store is None else store.keep(index, next(stream))
                blend.add(plan.boxes[index], logits)
                done += 1
                if progress is not None:
                    progress(done)
        except WindowTooLargeError:
            if blend.device.type != "cuda":
                raise
            logger.warning("GPU memory is too small for the logits and one window; logits are now blended on the CPU")
            blend.to(torch.device("cpu"))
            torch.cuda.empty_cache()
    logits = blend.divide_by_weights()
    check_finite(logits, engine)
    return logits


def stream_windows(
    image: Tensor, plan: WindowPlan, engine: Engine, indices: Iterable[int], *, guidance: Guidance | None = None
) -> Iterator[Tensor]:
    """Run windows of a plan.

    Parameters
    ----------
    image, plan, engine, guidance
        As for `infer`.
    indices
        Of the windows in the plan; read one by one.

    Yields
    ------
    Tensor
        As ``Engine.stream``.
    """
    channels = engine.config.channels
    return engine.stream(cut_input(image, guidance, plan.boxes[index], channels) for index in indices)


def check_finite(logits: Tensor, engine: Engine) -> None:
    """Check the output of a network.

    Raises
    ------
    NotFiniteError
        If a value is NaN or infinite.
    """
    if not math.isfinite(logits.sum().item()):
        advice = (
            "use --precision float32" if engine.precision != "float32" else "check the scan for NaN or infinite voxels"
        )
        raise NotFiniteError(f"{engine.source}: the network's output is not finite in {engine.precision}; {advice}")


def cut_input(image: Tensor, guidance: Guidance | None, box: Box, channels: Channels) -> Tensor:
    """Return the input of a window: image channels, then guidance channels if the network takes clicks.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z].
    guidance
        None: no clicks.
    box
        The window's voxels.
    channels
        Of the network.

    Returns
    -------
    Tensor
        float32 [channels.count, X, Y, Z].
    """
    window = cut(image, box)
    if not channels.takes_clicks:
        return window
    if guidance is None:
        return torch.cat([window, window.new_zeros((channels.count - channels.image_channels, *box.shape))])
    return torch.cat([window, guidance.cut(box, image.device)])


def cut(image: Tensor, box: Box) -> Tensor:
    """Return the voxels of a box, [C, X, Y, Z]; voxels beyond the image are 0.

    If the box lies inside the image, the result is a view.
    """
    inside = box.clipped(Box.whole((image.shape[1], image.shape[2], image.shape[3])))
    window = image[(slice(None), *inside.slices)]
    if inside == box:
        return window
    before = inside.relative_to(box).start
    after = (a - b for a, b in zip(box.stop, inside.stop, strict=True))
    return functional.pad(window, [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair])


def _blend(region: Box, window: Triple, engine: Engine) -> Blend:
    """Allocate the blend on the engine's device if there is memory for it, otherwise on the CPU."""
    shape = region.shape
    needed = 4 * shape[0] * shape[1] * shape[2]
    host, device = torch.device("cpu"), engine.device
    devices = [host] if device.type == "cpu" else [device, host]
    if device.type == "cuda" and free_bytes(device) < HEADROOM * needed + engine.working_set_bytes(1):
        devices = [host]
        logger.info("logits are blended on the CPU: %.1f GB do not fit the GPU", needed / 1e9)
    for where in devices:
        try:
            return Blend(region, window=window, device=where)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    raise UserError(f"out of memory: {needed / 1e9:.1f} GB needed to blend {'×'.join(map(str, shape))} voxels")
