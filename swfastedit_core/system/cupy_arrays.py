"""Tensors on an NVIDIA GPU as cupy arrays, if cupy is installed and works."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

T = TypeVar("T")


def compute_with_cupy(tensor: Tensor, compute: Callable[[Any], T]) -> T | None:
    """Compute with cupy on the device of a CUDA tensor.

    Parameters
    ----------
    tensor
        On a CUDA device. cupy uses its memory; nothing is copied.
    compute
        Takes the cupy array. It may import cupy's modules.

    Returns
    -------
    T or None
        None if cupy is missing or fails in any way: no NVRTC, no CUDA headers, another CUDA version, no memory. The
        caller then computes without it.
    """
    _set_writable_cache()
    try:
        import cupy
    except Exception as error:  # a broken installation raises more than ImportError
        _log_reason(error)
        return None
    index = tensor.device.index or 0
    try:
        with cupy.cuda.Device(index), _stream_of_torch(cupy, index):
            return compute(cupy.from_dlpack(tensor.detach()))
    except Exception as error:  # errors of cupy's compilers and of CUDA have many classes
        _log_reason(error)
        return None
    finally:  # torch cannot use memory that cupy keeps
        with suppress(Exception), cupy.cuda.Device(index):  # the pool of this device
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()


def _stream_of_torch(cupy: Any, index: int) -> Any:
    """Return torch's current stream as a stream of cupy: their kernels then run in order."""
    return cupy.cuda.ExternalStream(torch.cuda.current_stream(index).cuda_stream, index)


def _log_reason(error: Exception) -> None:
    logger.info("computing without cupy: %s: %s", type(error).__name__, " ".join(str(error).split())[:200])


def _set_writable_cache() -> None:
    """If HOME is read-only, set cupy's cache to the temporary folder: otherwise the import of cupy fails."""
    if "CUPY_CACHE_DIR" in os.environ:
        return
    home = Path.home() if "HOME" in os.environ else Path("/nonexistent")
    if not os.access(home, os.W_OK):
        os.environ["CUPY_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "cupy")
