"""Sliding-window inference: windows × engine → one map of logits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from swfastedit_core.blending import Blend
from swfastedit_core.box import Box
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
OnLogits = Callable[[int, Tensor], None]


@timed("network")
def infer(
    image: Tensor,
    plan: WindowPlan,
    engine: Engine,
    *,
    guidance: Guidance | None = None,
    progress: Progress | None = None,
    on_logits: OnLogits | None = None,
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
    on_logits
        Called with the index of the window in the plan and its logits, float32 [X, Y, Z]. The tensor is reused after
        the call: copy it if you need it later, as for `blending.blend`.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] of ``plan.region``: tumour logit minus background logit, -30 in voxels without a window.

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
    blend = _blend(plan, engine)
    done = 0
    while done < len(plan.boxes):
        left = plan.boxes[done:]
        try:
            windows = (cut_input(image, guidance, box, channels) for box in left)
            for box, logits in zip(left, engine.stream(windows), strict=True):
                blend.add(box, logits)
                if on_logits is not None:
                    on_logits(done, logits)
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
    if not math.isfinite(logits.sum().item()):
        advice = (
            "use --precision float32" if engine.precision != "float32" else "check the scan for NaN or infinite voxels"
        )
        raise NotFiniteError(f"{engine.source}: the network's output is not finite in {engine.precision}; {advice}")
    return logits


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


def _blend(plan: WindowPlan, engine: Engine) -> Blend:
    """Allocate the blend on the engine's device if there is memory for it, otherwise on the CPU."""
    shape = plan.region.shape
    needed = 4 * shape[0] * shape[1] * shape[2]
    host, device = torch.device("cpu"), engine.device
    devices = [host] if device.type == "cpu" else [device, host]
    if device.type == "cuda" and free_bytes(device) < HEADROOM * needed + engine.working_set_bytes(1):
        devices = [host]
        logger.info("logits are blended on the CPU: %.1f GB do not fit the GPU", needed / 1e9)
    for where in devices:
        try:
            return Blend(plan.region, window=plan.window, device=where)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    raise UserError(f"out of memory: {needed / 1e9:.1f} GB needed to blend {'×'.join(map(str, shape))} voxels")
