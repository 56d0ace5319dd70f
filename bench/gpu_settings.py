"""Time of a window of the large network on a GPU: batches, memory layouts, norms, CUDA graph, torch.compile."""

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
from swfastedit_core.engine.torch_norm import ChannelsLastNorm, replace_norms
from swfastedit_core.model import NORM_EPSILON
from swfastedit_core.system.command import say

BATCHES = (1, 2, 4, 8)
SECONDS, PREPARATION = "seconds per window", "seconds to prepare"
CHANNELS_LAST = torch.channels_last_3d
WINDOWS = 16  # number of windows that are timed for each setting


class VarMeanNorm(nn.Module):
    """Instance norm as mean, variance and one multiplication with addition; keeps the layout."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, X, Y, Z]. In float16, PyTorch rounds mean and variance to float16."""
        variance, mean = torch.var_mean(x, dim=(2, 3, 4), correction=0, keepdim=True)
        scale = torch.rsqrt(variance + NORM_EPSILON)
        return torch.addcmul(-mean * scale, x, scale)


def measure_settings(weights: Path, device: torch.device) -> list[dict[str, Any]]:
    """Time windows of the large network in each setting; a setting that fails is reported with its error."""
    checkpoint = read_checkpoint(weights)
    image = torch.rand((1, *checkpoint.config.window), device=device)
    if device.type != "cuda":
        engine = TorchEngine(checkpoint, device=device, precision="float32", batch=1)
        return [timed("CPU, batch 1", lambda: {SECONDS: seconds_of(lambda: engine([image]), device, 1)})]
    rows = [timed(f"the engine, batch {batch}", partial(_in_batches, checkpoint, image, batch)) for batch in BATCHES]
    norms: dict[str, Callable[[], nn.Module] | None] = {
        "torch's norm": None,
        "batch norm": ChannelsLastNorm,
        "var_mean": VarMeanNorm,
    }
    with torch.inference_mode():
        for layout in (torch.channels_last_3d, torch.contiguous_format):
            inputs = torch.empty((1, *image.shape), dtype=torch.float16, device=device, memory_format=layout)
            inputs.copy_(image[None])
            for name, norm in norms.items():
                network = _network(checkpoint, norm, layout, device)
                setting = f"{str(layout).removeprefix('torch.')}, {name}, batch 1"
                rows.append(timed(setting, partial(_of_network, network, inputs)))
        inputs = torch.empty((1, *image.shape), dtype=torch.float16, device=device, memory_format=CHANNELS_LAST)
        inputs.copy_(image[None])
        network = _network(checkpoint, ChannelsLastNorm, CHANNELS_LAST, device)
        rows.append(timed("CUDA graph, batch 1", lambda: _in_cuda_graph(network, inputs)))
        rows.append(timed("torch.compile, batch 1", lambda: _compiled(network, inputs)))
    return rows


def _network(
    checkpoint: Checkpoint,
    norm: Callable[[], nn.Module] | None,
    layout: torch.memory_format,
    device: torch.device,
) -> Any:
    network: Any = difference_network(checkpoint.network())
    if norm is not None:
        replace_norms(network, norm)
    return network.to(device, torch.float16).to(memory_format=layout)


def _of_network(network: Any, inputs: Tensor) -> dict[str, float]:
    return {SECONDS: seconds_of(lambda: network(inputs), inputs.device, WINDOWS // 2)}


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
    stream.wait_stream(torch.cuda.current_stream())
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
