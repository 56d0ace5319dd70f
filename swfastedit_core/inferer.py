"""Windows, engine and blending: from an image to one map of logits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from swfastedit_core.box import Triple
from swfastedit_core.engine import Engine, free_bytes
from swfastedit_core.errors import UserError, WindowTooLargeError, is_out_of_memory
from swfastedit_core.windows import WindowPlan, gaussian_weights

logger = logging.getLogger(__name__)

UNSEEN_LOGIT = -30.0  # where no window looked: probability 1e-13
HEADROOM = 2  # the accumulator stays on a GPU while this many times their size is free

Progress = Callable[[int], None]


def infer(image: Tensor, plan: WindowPlan, engine: Engine, *, progress: Progress | None = None) -> Tensor:
    """Run the planned windows and blend them.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z] on the engine's device.
    plan
        Made for this image's shape.
    engine
        The network.
    progress
        Called with the number of windows done after each.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] of ``plan.image_box``: tumour logit minus background logit, -30 where no window lies.

    Raises
    ------
    UserError
        If not even one window fits the memory, or the network's output is not finite (float16 overflow).
    """
    if any(side for pair in plan.padding for side in pair):
        image = functional.pad(image, [side for pair in reversed(plan.padding) for side in pair])
    logits = _accumulator(plan.region.shape, engine)
    weights = gaussian_weights(plan.window).to(logits.device)
    done = 0
    while done < len(plan.starts):
        left = plan.starts[done:]
        windows = (image[(slice(None), *_slices(start, plan.window))] for start in left)
        try:
            for start, values in zip(left, engine.stream(windows), strict=True):
                x, y, z = _slices(_minus(start, plan.region.start), plan.window)
                logits[x, y, z].addcmul_(values.to(logits.device), weights)
                done += 1
                if progress is not None:
                    progress(done)
        except WindowTooLargeError:
            if not logits.is_cuda:
                raise
            logger.warning("memory ran out with one window at a time, blending on the host from here on")
            logits, weights = logits.cpu(), weights.cpu()
            torch.cuda.empty_cache()
    _divide_by_weights(logits, plan, weights)
    if not math.isfinite(logits.sum().item()):
        advice = "use --precision float32" if engine.precision != "float32" else "does the scan hold only numbers?"
        raise UserError(f"{engine.source}: the network's output is not finite in {engine.precision}; {advice}")
    return logits[_inner(plan)]


def _divide_by_weights(logits: Tensor, plan: WindowPlan, weights: Tensor) -> None:
    """Turn weighted sums into means, slab by slab: a second map of the region's size would be the weights' sum."""
    thickness = max(plan.window[0] // 4, 1)
    for low in range(0, plan.region.shape[0], thickness):
        slab = logits[low : low + thickness]
        total = torch.zeros_like(slab)
        for start in plan.starts:
            x, y, z = _minus(start, plan.region.start)
            first, last = max(x, low), min(x + plan.window[0], low + len(slab))
            if first < last:
                there = (slice(first - low, last - low), *_slices((0, y, z), plan.window)[1:])
                total[there] += weights[first - x : last - x]
        slab.div_(total).masked_fill_(total == 0, UNSEEN_LOGIT)


def _accumulator(shape: Triple, engine: Engine) -> Tensor:
    """Make room for weighted logits, zeroed, on the device if it fits beside the network's work, else on the host."""
    needed = 4 * shape[0] * shape[1] * shape[2]
    host, device = torch.device("cpu"), engine.device
    places = [host] if device.type == "cpu" else [device, host]
    if device.type == "cuda" and free_bytes(device) < HEADROOM * needed + engine.working_set_bytes(1):
        places = [host]
        logger.info("blending on the host: %.1f GB would not fit the GPU", needed / 1e9)
    for place in places:
        try:
            return torch.zeros(shape, device=place)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    raise UserError(f"out of memory: {needed / 1e9:.1f} GB needed to blend {'×'.join(map(str, shape))} voxels")


def _inner(plan: WindowPlan) -> tuple[slice, slice, slice]:
    """Return the image's part of the accumulators: without padding."""
    box, padding, region = plan.image_box, plan.padding, plan.region
    x, y, z = (
        slice(
            box.start[axis] + padding[axis][0] - region.start[axis],
            box.stop[axis] + padding[axis][0] - region.start[axis],
        )
        for axis in range(3)
    )
    return x, y, z


def _slices(start: Triple, sides: Triple) -> tuple[slice, slice, slice]:
    x, y, z = (slice(a, a + side) for a, side in zip(start, sides, strict=True))
    return x, y, z


def _minus(a: Triple, b: Triple) -> Triple:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]
