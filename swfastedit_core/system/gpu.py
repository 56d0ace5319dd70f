"""Arrays on an NVIDIA GPU through cupy, where cupy is installed and works."""

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


def on_gpu(tensor: Tensor, compute: Callable[[Any], T]) -> T | None:
    """Compute with cupy on a CUDA tensor's own device.

    Parameters
    ----------
    tensor
        On a CUDA device. cupy sees its memory, nothing is copied.
    compute
        Takes the cupy array; may import cupy's modules.

    Returns
    -------
    T or None
        None where cupy is missing, does not start (no NVRTC, no CUDA headers), or has no memory left: the
        caller has another way.
    """
    _use_a_writable_cache()
    try:
        import cupy

        with cupy.cuda.Device(tensor.device.index or 0):
            result = compute(cupy.from_dlpack(tensor.detach()))
            cupy.get_default_memory_pool().free_all_blocks()  # torch cannot use what cupy keeps
            return result
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        logger.info("going on without cupy: %s", " ".join(str(error).split())[:200])
        return None


def _use_a_writable_cache() -> None:
    """Let cupy keep its kernels in the temporary folder where HOME is read-only; its import fails otherwise."""
    if "CUPY_CACHE_DIR" in os.environ:
        return
    home = Path.home() if "HOME" in os.environ else Path("/nonexistent")
    if not os.access(home, os.W_OK):
        os.environ["CUPY_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "cupy")
