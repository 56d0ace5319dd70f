"""Memory: the peak of this process, and how much there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from swfastedit_core.system.control_groups import FILES, MOUNT, control_groups
from swfastedit_core.system.limits import read_limits

if TYPE_CHECKING:
    import torch

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")
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


def usable_memory_bytes(*, meminfo: Path = MEMINFO, files: Path = FILES, mount: Path = MOUNT) -> int | None:
    """Return the memory that this process can have at most: free memory and swap, or less by a limit.

    Limits are those of control groups and of the process (`read_limits`).

    Parameters
    ----------
    meminfo
        The kernel's file about the machine's memory.
    files, mount
        As in `control_groups`.

    Returns
    -------
    int or None
        None if the system does not tell (not Linux).
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = sum(1024 * int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return None
    limits = [_left(group) for group in control_groups("memory", files=files, mount=mount)]
    own = [limit.left_bytes for limit in read_limits()]
    return min([free, *own, *(limit for limit in limits if limit is not None)])


def _left(group: Path) -> int | None:
    """Return the memory that a control group may still use, without what is a cache of files; None without a limit."""
    for name, used in (("memory.max", "anon"), ("memory.limit_in_bytes", "total_rss")):
        with suppress(OSError, ValueError):
            limit = int((group / name).read_text())  # "max" is no number
            try:
                usage = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            except OSError:
                return limit
            return max(limit - int(usage.get(used, 0)), 0)
    return None
