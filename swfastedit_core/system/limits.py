"""The limits of memory that a shell, a batch system or a platform sets for a process (``ulimit -v`` and ``-d``)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.errors import UserError

SCARCE_BYTES = 8_000_000_000
STATM = Path("/proc/self/statm")  # sizes in pages: all, resident, shared, code, 0, data and stack, 0


@dataclass(frozen=True)
class MemoryLimit:
    """A limit of this process.

    Attributes
    ----------
    option
        The option of the shell's ``ulimit`` that sets it.
    limit_bytes
        The limit.
    left_bytes
        What the process may still take.
    """

    option: str
    limit_bytes: int
    left_bytes: int


@dataclass(frozen=True, kw_only=True)
class LeastMemory:
    """What a program needs for its libraries and the smallest input, in bytes, by the kinds of limits."""

    address_space: int
    data: int


def read_limits(*, statm: Path = STATM) -> list[MemoryLimit]:
    """List the limits of address space and of data that are set; empty without limits, and where there are none.

    Parameters
    ----------
    statm
        The kernel's file about the memory of this process.
    """
    try:
        import resource
    except ImportError:  # Windows
        return []
    try:
        sizes = [int(pages) * resource.getpagesize() for pages in statm.read_text().split()]
    except (OSError, ValueError):
        sizes = [0] * 7
    limits = []
    for option, kind, used in (("-v", resource.RLIMIT_AS, sizes[0]), ("-d", resource.RLIMIT_DATA, sizes[5])):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            limits.append(MemoryLimit(option, limit, max(limit - used, 0)))
    return limits


def memory_limits() -> str:
    """Return the limits as text, such as ``ulimit -v: 1.0 GB``; empty without limits."""
    return ", ".join(f"ulimit {limit.option}: {limit.limit_bytes / 1e9:.1f} GB" for limit in read_limits())


def memory_is_limited() -> bool:
    """Whether a limit leaves so little memory that work at the same time may exhaust it."""
    return any(limit.left_bytes < SCARCE_BYTES for limit in read_limits())


def require_memory_limits(least: LeastMemory, *, statm: Path = STATM) -> None:
    """Check the limits of memory before large libraries are imported: some crash or wait for ever without memory.

    Parameters
    ----------
    least
        What the program needs.
    statm
        As in `read_limits`.

    Raises
    ------
    UserError
        If a limit is lower.
    """
    needed = {"-v": least.address_space, "-d": least.data}
    for limit in read_limits(statm=statm):
        if limit.left_bytes < needed[limit.option]:
            raise UserError(
                f"out of memory: this process may use {limit.limit_bytes / 1e9:.1f} GB (ulimit {limit.option}), and "
                f"the program needs {needed[limit.option] / 1e9:.1f} GB at least; raise it, such as with "
                f"`ulimit {limit.option} unlimited`"
            )


def forbid_core_dumps() -> None:
    """Let no crash write the process's memory to a file."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
