"""Errors that the user can solve, and warnings about data."""

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
    "STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "failed to map segment",  # of the loader of libraries
    "cannot map zero-fill pages",
    "Broken promise",  # of OpenVINO, if a thread of its compilation cannot start
)
# torch's message if cuDNN runs no kernel for a convolution, most often because no memory is left for its workspace.
NO_CONVOLUTION_KERNEL = "unable to find an engine"


class UserError(Exception):
    """An error with a message for the user: one line that says what was found, what was expected and what to do.

    Entry points print it to standard error and exit with 1. No code below them catches it.
    """


class WindowTooLargeError(UserError):
    """Memory ran out with a single window; the caller may free other memory and try again."""


class NotFiniteError(UserError):
    """The output of a network is not finite; in float16 it may have overflowed."""


class DataWarning(UserWarning):
    """Unusual input that the user should check; the run continues."""


def is_out_of_memory(error: BaseException, *, windows: int = 1) -> bool:
    """Whether an error of torch, its libraries or Python means that memory of the CPU or a GPU ran out.

    Parameters
    ----------
    error
        The error.
    windows
        Number of windows that ran at once. With more than one, a convolution without a kernel counts, too: it may have
        one with fewer windows.
    """
    if isinstance(error, MemoryError):
        return True
    texts = OUT_OF_MEMORY if windows == 1 else (*OUT_OF_MEMORY, NO_CONVOLUTION_KERNEL)
    return isinstance(error, RuntimeError | ImportError) and any(words in str(error) for words in texts)


def window_too_large(
    window: tuple[int, int, int], *, needed_bytes: int, precision: str, device: object, advice: str
) -> WindowTooLargeError:
    """Make the error for a window that does not fit into memory.

    Parameters
    ----------
    window
        Shape of the window, in voxels.
    needed_bytes
        Memory for the activations of one window.
    precision, device
        Number format and device of the network.
    advice
        What the user can do, apart from freeing memory.
    """
    return WindowTooLargeError(
        f"out of memory on {device}: one window of {'×'.join(map(str, window))} needs about "
        f"{needed_bytes / 1e9:.1f} GB in {precision} in addition to the scan; free some memory, {advice}"
    )
