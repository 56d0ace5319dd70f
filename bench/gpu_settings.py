"""Time of a window of the large network on a GPU: batch sizes, memory layouts, CUDA graph, torch.compile."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.machine import seconds_of
from swfastedit_core.checkpoint import Checkpoint, read_checkpoint
from swfastedit_core.engine import TorchEngine
from swfastedit_core.engine.torch_engine import difference_network
from swfastedit_core.system.command import say

BATCHES = (1, 2, 4, 8)
SECONDS, PREPARATION = "seconds per window", "seconds to prepare"
WINDOWS = 16  # number of windows that are timed for each setting


def measure_settings(weights: Path, device: torch.device) -> list[dict[str, Any]]:
    """Time windows of the large network in each setting; a setting that fails is reported with its error."""
    checkpoint = read_checkpoint(weights)
    image = torch.rand((1, *checkpoint.config.window), device=device)
    if device.type != "cuda":
        engine = TorchEngine(checkpoint, device=device, precision="float32", batch=1)
        return [timed("CPU, batch 1", lambda: {SECONDS: seconds_of(lambda: engine([image]), device, 1)})]
    rows = [timed(f"channels-last, batch {batch}", partial(_in_batches, checkpoint, image, batch)) for batch in BATCHES]
    with torch.inference_mode():
        network: Any = difference_network(checkpoint.network()).to(device, torch.float16)
        inputs = image[None].half()
        rows.append(
            timed(
                "default layout, batch 1",
                lambda: {SECONDS: seconds_of(lambda: network(inputs), device, 4)},
            )
        )
        network = network.to(memory_format=torch.channels_last_3d)
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        rows.append(timed("CUDA graph, batch 1", lambda: _in_cuda_graph(network, inputs)))
        rows.append(timed("torch.compile, batch 1", lambda: _compiled(network, inputs)))
    return rows


def timed(setting: str, measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
    """Return the figures of a setting, or its error."""
    say(f"setting: {setting}")
    try:
        return {"setting": setting, **measure()}
    except Exception as error:  # an error of a compiler, a driver or memory; the other settings are still measured
        return {"setting": setting, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def _in_batches(checkpoint: Checkpoint, image: Tensor, batch: int) -> dict[str, float]:
    torch.cuda.empty_cache()
    engine = TorchEngine(checkpoint, device=image.device, precision="float16", batch=batch)
    seconds = seconds_of(lambda: engine([image] * batch), image.device, -(-WINDOWS // batch))
    return {SECONDS: seconds / batch}


def _in_cuda_graph(network: nn.Module, inputs: Tensor) -> dict[str, float]:
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch has no stub for it
    with torch.cuda.stream(stream):
        for _ in range(3):
            network(inputs)
    torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.cuda.graph(graph):
        network(inputs)
    captured = time.perf_counter() - start
    return {SECONDS: seconds_of(graph.replay, inputs.device, WINDOWS), PREPARATION: captured}


def _compiled(network: nn.Module, inputs: Tensor) -> dict[str, float]:
    compiled: Any = torch.compile(network)
    start = time.perf_counter()
    compiled(inputs)
    torch.cuda.synchronize()
    prepared = time.perf_counter() - start
    return {
        SECONDS: seconds_of(lambda: compiled(inputs), inputs.device, WINDOWS),
        PREPARATION: prepared,
    }
