"""What this machine can do at best: the ceilings that the network's speed is held against."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from swfastedit_core.engine import resolve_precision
from swfastedit_core.system.processors import available_cpus

SIDES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}  # of the matrices; the best one counts
REPEATS = 5
SECONDS = 2.0  # for which a product is repeated at least: machines that are shared change their speed
COPIED_FLOATS = 2**26


@dataclass(frozen=True)
class Ceilings:
    """Rates reached by single operations.

    Attributes
    ----------
    gflops
        Of the matrix product, in 10⁹ operations a second, by precision.
    copy_gb_per_s
        Read and written, in 10⁹ bytes a second.
    """

    gflops: dict[str, float]
    copy_gb_per_s: float


def name_of(device: torch.device) -> str:
    """Return what the processor or the GPU is called, with the number of processors that may be used."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {available_cpus()} processors"


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measure a matrix product in each precision that networks run in here, and a copy of memory."""
    precisions = {"float32": torch.float32}
    fast = resolve_precision("auto", device)
    precisions[fast] = getattr(torch, fast)
    gflops = {}
    for name, dtype in precisions.items():
        sides = {side: _product(side, dtype, device, seconds=0.0) for side in SIDES[device.type]}
        gflops[name] = _product(max(sides, key=sides.__getitem__), dtype, device, seconds=SECONDS)
    source = torch.ones(COPIED_FLOATS, device=device)
    target = torch.empty_like(source)
    seconds = _median_seconds(lambda: target.copy_(source), device)
    return Ceilings(gflops, 2 * source.nbytes / seconds / 1e9)


def sustained_gflops(device: torch.device, precision: str, *, seconds: float) -> float:
    """Return the rate of a matrix product that is kept up for so long, in 10⁹ operations a second.

    Processors slow down under matrix units, after seconds: what a network of a minute can reach is this.
    """
    dtype = getattr(torch, precision)
    sides = {side: _product(side, dtype, device, seconds=0.0) for side in SIDES[device.type]}
    side = max(sides, key=sides.__getitem__)
    a, b = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
    wait(device)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or count == 0:
        a @ b
        wait(device)
        count += 1
    return 2 * side**3 * count / passed / 1e9


def _product(side: int, dtype: torch.dtype, device: torch.device, *, seconds: float) -> float:
    a, b = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _median_seconds(lambda: a @ b, device, at_least=seconds) / 1e9


def _median_seconds(work: Callable[[], object], device: torch.device, *, at_least: float = 0.0) -> float:
    seconds: list[float] = []
    while len(seconds) <= REPEATS or sum(seconds[1:]) < at_least:
        start = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first one warms up


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was told to; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Return the seconds of one of so many calls in a row, after one to warm up."""
    work()
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - start) / times
