"""Print what the container is in which this runs, as JSON: limits, folders, torch, and whether OpenVINO works.

`limits.check_limits` and `checks.check_image` check it. It runs as ``python -c``, so it imports nothing of this
package.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
UP = 1  # flag of a network interface; some kernels list interfaces that are down in every container


def read_limits() -> dict[str, object]:
    """Return limits and folders by the names that `limits.check_limits` knows."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    shared = os.statvfs("/dev/shm")
    memory = read_first(CGROUP / "memory.max", CGROUP / "memory/memory.limit_in_bytes")
    return {
        **{path: describe_folder(Path(path)) for path in ("/input", "/output", "/tmp", "/opt/ml")},
        "network": [path.name for path in Path("/sys/class/net").iterdir() if is_up(path)],
        "capabilities": [int(status[name], 16) for name in ("CapEff", "CapBnd")],
        "no new privileges": int(status["NoNewPrivs"]),
        "memory": parse_number(memory),
        "memory and swap": memory_and_swap(memory),
        "shared memory": shared.f_blocks * shared.f_frsize,
        "data segment": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "processes": parse_number(read_first(CGROUP / "pids.max", CGROUP / "pids/pids.max")),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL"),
    }


def describe_folder(path: Path) -> str:
    """Return the target of a link, the mode, whether the file system is writable, and the names inside."""
    if not path.is_dir():
        return "no folder"
    link = f"link to {path.readlink()}, " if path.is_symlink() else ""
    access = "read only" if os.statvfs(path).f_flag & os.ST_RDONLY else "writable"
    content = ", ".join(sorted(entry.name for entry in path.iterdir())) or "empty"
    return f"{link}{path.stat().st_mode & 0o777:o}, {access}, {content}"


def is_up(interface: Path) -> bool:
    """Return whether a network interface is up; some kernels keep plain files beside the interfaces."""
    return interface.is_dir() and bool(int((interface / "flags").read_text(), 16) & UP)


def memory_and_swap(memory: str) -> int | str:
    """Return the limit on memory and swap together.

    A kernel that does not count swap sets no limit. A machine without swap needs none.
    """
    swap, both = read_first(CGROUP / "memory.swap.max"), read_first(CGROUP / "memory/memory.memsw.limit_in_bytes")
    if swap.isdigit() and memory.isdigit():
        return int(memory) + int(swap)
    if swap or both:
        return parse_number(swap or both)
    no_swap = "SwapTotal: 0 kB" in " ".join(read_first(Path("/proc/meminfo")).split())
    return parse_number(memory) if no_swap else "swap not limited"


def read_first(*files: Path) -> str:
    """Return the content of the first file that exists; empty if none does."""
    return next((file.read_text().strip() for file in files if file.is_file()), "")


def parse_number(text: str) -> int | str:
    """Return the number; else the text itself, such as ``max``; ``unknown`` if it is empty."""
    return int(text) if text.isdigit() else text or "unknown"


def read_torch_build() -> dict[str, object]:
    """Return the CUDA version of torch, None without CUDA, and the GPU architectures that it was compiled for."""
    import torch

    return {"cuda": torch.version.cuda, "architectures": torch.cuda.get_arch_list()}


def convolve_with_openvino() -> object:
    """Sum 27 ones by a convolution on the CPU; return the sum, or the reason why there is none."""
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment] # its import sends a usage report
    try:
        import numpy as np
        import openvino
        from openvino import opset13

        image = opset13.parameter([1, 1, 3, 3, 3], np.float32)
        kernel = opset13.constant(np.ones((1, 1, 3, 3, 3), np.float32))
        total = opset13.convolution(image, kernel, [1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1])
        compiled = openvino.Core().compile_model(openvino.Model([total], [image]), "CPU")
        return compiled(np.ones((1, 1, 3, 3, 3), np.float32))[0].item()
    except Exception as error:  # whatever a package with missing files raises
        return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    found = {"uid": os.getuid(), "limits": read_limits(), **read_torch_build(), "openvino": convolve_with_openvino()}
    print(json.dumps(found))
