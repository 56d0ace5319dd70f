"""Peak rates of this machine. The rate of the network is compared with them."""

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

SIDES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}  # sides of the matrices; the fastest size is used
REPEATS = 5
SECONDS = 2.0  # shortest duration of a measurement: the speed of a shared machine varies
COPIED_FLOATS = 2**26


@dataclass(frozen=True)
class Ceilings:
    """Peak rates of a machine.

    Attributes
    ----------
    gflops
        Rate of a matrix product by precision, in 10⁹ operations per second.
    copy_gb_per_s
        Memory read and written by a copy, in 10⁹ bytes per second.
    """

    gflops: dict[str, float]
    copy_gb_per_s: float


def name_of(device: torch.device) -> str:
    """Return the model of the GPU; on a CPU, its model and the number of processors that this process may use."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {available_cpus()} processors"


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measure a matrix product in float32 and in the default precision of networks, and a copy of memory."""
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
    """Return the rate of a matrix product that is repeated for some seconds, in 10⁹ operations per second.

    Processors reduce their clock after seconds of matrix products. The rate of a network that
    runs for a minute is compared with this lower rate.
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
    return statistics.median(seconds[1:])  # the first one is the warm-up


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished its queue; return at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Return the seconds per call of several consecutive calls, after a call for warm-up."""
    work()
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - start) / times
