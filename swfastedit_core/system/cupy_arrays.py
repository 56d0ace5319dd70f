"""Tensors on an NVIDIA GPU as cupy arrays, if cupy is installed and works."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

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
        None if cupy is missing, does not start (no NVRTC, no CUDA headers), or has no memory left. The caller
        then computes without it.
    """
    _set_writable_cache()
    try:
        import cupy

        with cupy.cuda.Device(tensor.device.index or 0):
            result = compute(cupy.from_dlpack(tensor.detach()))
            cupy.get_default_memory_pool().free_all_blocks()  # else torch cannot use memory that cupy keeps
            return result
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        logger.info("computing without cupy: %s", " ".join(str(error).split())[:200])
        return None


def _set_writable_cache() -> None:
    """If HOME is read-only, set cupy's cache to the temporary folder: otherwise the import of cupy fails."""
    if "CUPY_CACHE_DIR" in os.environ:
        return
    home = Path.home() if "HOME" in os.environ else Path("/nonexistent")
    if not os.access(home, os.W_OK):
        os.environ["CUPY_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "cupy")
