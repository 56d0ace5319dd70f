"""What can go wrong for a reason that the user can mend."""

from __future__ import annotations

OUT_OF_MEMORY = (  # in the messages of torch, oneDNN, OpenVINO, cuDNN and cuBLAS
    "DefaultCPUAllocator",
    "could not create a memory",
    "Failed to allocate",
    "can't alloc",
    "Cannot allocate memory",
    "out of memory",
    "std::bad_alloc",
    "STATUS_ALLOC_FAILED",
)


class UserError(Exception):
    """An error whose message is meant for the user.

    The message is one line: what was found, what was expected, what to do. Entry points print it to stderr
    and exit with 1; nothing below them catches it.
    """


class WindowTooLargeError(UserError):
    """Memory ran out although only one window was in it; what else is in memory may make room."""


class DataWarning(UserWarning):
    """Something about the input that the user should look at, although the run goes on."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, its libraries or Python means that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def window_too_large(
    window: tuple[int, int, int], *, needed_bytes: int, precision: str, device: object, way_out: str
) -> WindowTooLargeError:
    """Make the error for a window that does not fit.

    Parameters
    ----------
    window
        Its shape, in voxels.
    needed_bytes
        For the activations of one window.
    precision, device
        That the network runs in and on.
    way_out
        What to do besides freeing memory.
    """
    return WindowTooLargeError(
        f"out of memory on {device}: one window of {'×'.join(map(str, window))} needs about "
        f"{needed_bytes / 1e9:.1f} GB in {precision} beside the scan; free some memory, {way_out}"
    )
