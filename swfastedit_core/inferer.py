"""Windows, engine and blending: from an image to one map of logits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from swfastedit_core.box import Triple
from swfastedit_core.engine import Engine
from swfastedit_core.errors import UserError, is_out_of_memory
from swfastedit_core.windows import WindowPlan, gaussian_weights

logger = logging.getLogger(__name__)

UNSEEN_LOGIT = -30.0  # where no window looked: probability 1e-13
HEADROOM = 2  # the accumulators stay on a GPU while this many times their size is free

Progress = Callable[[int], None]


def infer(
    image: Tensor,
    plan: WindowPlan,
    engine: Engine,
    *,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Run the planned windows and blend them.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z] on the engine's device.
    plan
        Made for this image's shape.
    engine
        The network.
    batch
        Windows a call; the engine's default where None. It is halved whenever memory runs out.
    progress
        Called with the number of windows done after each call of the engine.

    Returns
    -------
    Tensor
        float32 [X, Y, Z] of ``plan.image_box``: tumour logit minus background logit, -30 where no window lies.

    Raises
    ------
    UserError
        If not even one window fits the memory, or the network's output is not finite (float16 overflow).
    """
    batch = batch or engine.default_batch
    if any(side for pair in plan.padding for side in pair):
        image = functional.pad(image, [side for pair in reversed(plan.padding) for side in pair])
    weights = gaussian_weights(plan.window)
    logits, total = _accumulators(plan.region.shape, engine, batch)
    weights = weights.to(logits.device)
    done = 0
    while done < len(plan.starts):
        chunk = plan.starts[done : done + batch]
        found = _attempted(engine, image, chunk, plan.window)
        if found is None:
            if len(chunk) == 1 and logits.is_cuda:
                logger.warning("memory ran out with one window at a time, blending on the host from here on")
                logits, total, weights = logits.cpu(), total.cpu(), weights.cpu()
                torch.cuda.empty_cache()
            else:
                batch = _halved(len(chunk), engine)
            continue
        for start, values in zip(chunk, found, strict=True):
            x, y, z = _slices(_minus(start, plan.region.start), plan.window)
            logits[x, y, z].addcmul_(values.to(logits.device), weights)
            total[x, y, z] += weights
        done += len(chunk)
        if progress is not None:
            progress(done)
    logits.div_(total).masked_fill_(total == 0, UNSEEN_LOGIT)
    if not math.isfinite(logits.sum().item()):
        advice = "use --precision float32" if engine.precision != "float32" else "does the scan hold only numbers?"
        raise UserError(f"{engine.source}: the network's output is not finite in {engine.precision}; {advice}")
    return logits[_inner(plan)]


def _accumulators(shape: Triple, engine: Engine, batch: int) -> tuple[Tensor, Tensor]:
    """Weighted logits and weights, zeroed, on the device if they fit beside the network's work, else on the host."""
    needed = 2 * 4 * shape[0] * shape[1] * shape[2]
    host, device = torch.device("cpu"), engine.device
    places = [host] if device.type == "cpu" else [device, host]
    if device.type == "cuda" and _free_bytes(device) < HEADROOM * needed + engine.working_set_bytes(batch):
        places = [host]
        logger.info("blending on the host: %.1f GB would not fit the GPU", needed / 1e9)
    for place in places:
        try:
            return torch.zeros(shape, device=place), torch.zeros(shape, device=place)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    raise UserError(f"out of memory: {needed / 1e9:.1f} GB needed to blend {'×'.join(map(str, shape))} voxels")


def _free_bytes(device: torch.device) -> int:
    """Memory of a GPU that can be had: what the driver has left, and what torch keeps without using it."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _attempted(engine: Engine, image: Tensor, chunk: tuple[Triple, ...], window: Triple) -> Tensor | None:
    """Run the engine on a few windows; None where memory ran out."""
    try:
        return engine(torch.stack([image[(slice(None), *_slices(start, window))] for start in chunk]))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block, where the traceback no longer keeps the activations alive.
    if image.is_cuda:
        torch.cuda.empty_cache()
    return None


def _halved(batch: int, engine: Engine) -> int:
    if batch == 1:
        raise UserError(
            f"out of memory on {engine.device}: one window of {'×'.join(map(str, engine.config.window))} needs about "
            f"{engine.working_set_bytes(1) / 1e9:.1f} GB in {engine.precision} beside the scan; free some memory, "
            "use a lower --precision or another --device"
        )
    logger.warning("memory ran out with %d windows at a time, going on with %d", batch, batch // 2)
    return batch // 2


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
