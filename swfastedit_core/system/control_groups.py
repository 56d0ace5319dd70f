"""The Linux control groups of this process, which limit its processors and memory in a container."""

from __future__ import annotations

from pathlib import Path

FILES = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def control_groups(controller: str, *, files: Path = FILES, mount: Path = MOUNT) -> list[Path]:
    """List the folders whose limits apply: the process's group and all above it.

    Parameters
    ----------
    controller
        Name in version 1, such as ``cpu`` or ``memory``. In version 2 all controllers are in one folder.
    files
        File with the control groups of the process.
    mount
        Folder in which the kernel shows them: version 2, or version 1 in a folder for each controller.
    """
    try:
        lines = [line.split(":", 2) for line in files.read_text().splitlines()]
    except OSError:
        return []
    found: list[Path] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            top = mount
        elif controller in controllers.split(","):
            top = mount / controller
        else:
            continue
        # In a container without a control group namespace the path is the host's; only the top folder exists.
        below = Path(path.lstrip("/"))
        found += [top / part for part in (below, *below.parents)]
    return found
