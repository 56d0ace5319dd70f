"""Peak memory of this process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): writing it to clear_refs resets VmHWM


def reset_peak_memory() -> None:
    """Reset the peak, if the system can: on Linux, and on CUDA."""
    import torch

    with suppress(OSError):
        CLEAR_REFS.write_text(RESET_PEAK)
    with suppress(RuntimeError):  # CUDA is not in use
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)


def peak_memory_mb() -> float:
    """Return the largest resident memory since `reset_peak_memory`, in MB (10⁶ bytes).

    Without a reset, and on other systems than Linux, it is the peak since the start of the process.
    """
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


def peak_gpu_memory_mb(device: torch.device) -> float:
    """Return the largest memory of PyTorch's tensors on a CUDA device since `reset_peak_memory`, in MB (10⁶ bytes).

    Memory that PyTorch keeps for later tensors does not count: it is left from earlier cases.
    """
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6
