"""How many processors this process may use: what it is given, not what the host has."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from pathlib import Path

FILES = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def available_cpus(*, files: Path = FILES, mount: Path = MOUNT) -> int:
    """Return the processors in this process's affinity mask, or fewer where a control group's quota is smaller.

    A container that is started with ``--cpus 2`` sees all processors of its host and gets the time of two: programs
    that start a thread for each of them stand still most of the time.

    Parameters
    ----------
    files
        Lists the control groups of the process.
    mount
        Where the kernel shows them, of version 2, or of version 1 in the folder ``cpu``.

    Returns
    -------
    int
        1 or more; a quota of one processor and a half counts as 2.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups(files, mount) if (quota := _quota(group)) is not None]
    return max(1, min([given, *(math.ceil(quota) for quota in quotas)]))


def limit_threads() -> None:
    """Let torch and SimpleITK start as many threads as there are processors for this process: they see the host's.

    Called by programs before their work, since it holds for the whole process.
    """
    import torch

    processors = available_cpus()
    torch.set_num_threads(min(torch.get_num_threads(), processors))
    if find_spec("SimpleITK"):
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(processors)


def _groups(files: Path, mount: Path) -> list[Path]:
    """List the folders whose quotas hold: the process's group and all above it."""
    try:
        lines = [line.split(":", 2) for line in files.read_text().splitlines()]
    except OSError:
        return []
    found: list[Path] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            top = mount
        elif "cpu" in controllers.split(","):
            top = mount / "cpu"
        else:
            continue
        # Where a container has no view of its own, the path is the host's, and only the top is there.
        below = Path(path.lstrip("/"))
        found += [top / part for part in (below, *below.parents)]
    return found


def _quota(group: Path) -> float | None:
    """Return the processors that a control group may use; None where it sets no limit or does not say."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        limited = quota != "max" and float(quota) > 0 and float(period) > 0
        return float(quota) / float(period) if limited else None
    except (OSError, ValueError):
        return None
