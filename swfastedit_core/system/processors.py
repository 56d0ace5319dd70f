"""The number of processors that this process may use, which can be less than the host has."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from pathlib import Path

from swfastedit_core.system.control_groups import FILES, MOUNT, control_groups


def available_cpus(*, files: Path = FILES, mount: Path = MOUNT) -> int:
    """Return the processors in this process's affinity mask, or fewer if the quota of a control group is smaller.

    A container with ``--cpus 2`` sees all processors of its host and gets the time of two. A program with a thread for
    each processor of the host is throttled most of the time.

    Parameters
    ----------
    files
        File with the control groups of the process.
    mount
        Folder in which the kernel shows them: version 2, or version 1 in its folder ``cpu``.

    Returns
    -------
    int
        1 or more; a quota of 1.5 processors counts as 2.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [
        quota for group in control_groups("cpu", files=files, mount=mount) if (quota := _quota(group)) is not None
    ]
    return max(1, min([given, *(math.ceil(quota) for quota in quotas)]))


def limit_threads() -> None:
    """Limit the threads of torch and SimpleITK to the processors of this process; their default counts the host's.

    The limit holds for the whole process. Programs call this function before their work.
    """
    import torch

    processors = available_cpus()
    torch.set_num_threads(min(torch.get_num_threads(), processors))
    if find_spec("SimpleITK"):
        import SimpleITK as sitk

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(processors)


def _quota(group: Path) -> float | None:
    """Return the processors that a control group may use; None without a limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        limited = quota != "max" and float(quota) > 0 and float(period) > 0
        return float(quota) / float(period) if limited else None
    except (OSError, ValueError):
        return None
