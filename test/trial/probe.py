"""Runs in a container: prints what it finds there of the platform's limits, as JSON; `limits` holds it against them."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
UP = 1  # a network interface's flag; kernels show some that are down in every container


def seen() -> dict[str, object]:
    """Look around."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    shared = os.statvfs("/dev/shm")
    memory = first(CGROUP / "memory.max", CGROUP / "memory/memory.limit_in_bytes")
    return {
        **{path: folder(Path(path)) for path in ("/input", "/output", "/tmp", "/opt/ml")},
        "network": [path.name for path in Path("/sys/class/net").iterdir() if is_up(path)],
        "capabilities": [int(status[name], 16) for name in ("CapEff", "CapBnd")],
        "no new privileges": int(status["NoNewPrivs"]),
        "memory": number(memory),
        "memory and swap": memory_and_swap(memory),
        "shared memory": shared.f_blocks * shared.f_frsize,
        "data segment": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "processes": number(first(CGROUP / "pids.max", CGROUP / "pids/pids.max")),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL"),
    }


def folder(path: Path) -> str:
    """Describe a folder: where a link leads, its mode, whether its file system takes files, what is in it."""
    if not path.is_dir():
        return "no folder"
    link = f"link to {path.readlink()}, " if path.is_symlink() else ""
    access = "read only" if os.statvfs(path).f_flag & os.ST_RDONLY else "writable"
    content = ", ".join(sorted(entry.name for entry in path.iterdir())) or "empty"
    return f"{link}{path.stat().st_mode & 0o777:o}, {access}, {content}"


def is_up(interface: Path) -> bool:
    """Tell whether a network interface is in use; some kernels keep plain files among them."""
    return interface.is_dir() and bool(int((interface / "flags").read_text(), 16) & UP)


def memory_and_swap(memory: str) -> int | str:
    """Add the limit of swap; where the kernel does not count swap, none at all on the machine is as good."""
    swap, both = first(CGROUP / "memory.swap.max"), first(CGROUP / "memory/memory.memsw.limit_in_bytes")
    if swap.isdigit() and memory.isdigit():
        return int(memory) + int(swap)
    if swap or both:
        return number(swap or both)
    return number(memory) if "SwapTotal: 0 kB" in " ".join(first(Path("/proc/meminfo")).split()) else "swap not limited"


def first(*files: Path) -> str:
    """Return the content of the first file that is there, nothing where none is."""
    return next((file.read_text().strip() for file in files if file.is_file()), "")


def number(text: str) -> int | str:
    """Return a number, or the word that stands there instead of one."""
    return int(text) if text.isdigit() else text or "not told"


def torch() -> dict[str, object]:
    """Return torch's version of CUDA and its architectures; None where it has no CUDA."""
    import torch

    return {"cuda": torch.version.cuda, "architectures": torch.cuda.get_arch_list()}


if __name__ == "__main__":
    print(json.dumps({"uid": os.getuid(), "limits": seen(), **torch()}))
