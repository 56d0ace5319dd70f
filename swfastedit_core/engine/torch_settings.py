"""PyTorch's global settings while an engine runs. A program that calls this one may have changed them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

FULL = ("ieee", "none")  # values of fp32_precision with which float32 is computed in full


@contextmanager
def engine_settings(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Set what the engine needs, and restore the settings at the end.

    - No gradients and no autocast: the engine chooses the precision.
    - float32 is computed in full. By default, cuDNN computes it in TF32, with 10 bits of mantissa;
      ``torch.set_float32_matmul_precision("medium")`` and ``torch.backends.fp32_precision`` let oneDNN use bfloat16.
    - cuDNN uses deterministic algorithms, and no benchmark, which may choose others in each process.

    `torch.backends.cudnn.flags` is not used: it fails if a program has set ``fp32_precision`` of some operations.

    Parameters
    ----------
    device
        Device of the network.
    dtype
        Type of the activations.
    """
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        if device.type == "cuda":
            with _repeatable_cudnn(), _full_float32([torch.backends.cudnn.conv] if dtype == torch.float32 else []):  # type: ignore[attr-defined] # torch has no stub for it
                yield
        else:
            mkldnn: Any = torch.backends.mkldnn
            # oneDNN's convolution follows the setting of matmul, too.
            with _full_float32([mkldnn.conv, mkldnn.matmul] if dtype == torch.float32 else []):
                yield


@contextmanager
def _repeatable_cudnn() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def _full_float32(operations: list[Any]) -> Iterator[None]:
    """Compute float32 in full in these operations. An inherited setting is inherited again at the end."""
    inherited: str = torch.backends.fp32_precision  # type: ignore[attr-defined] # torch has no stub for it
    lowered = [(one, one.fp32_precision) for one in operations if one.fp32_precision not in FULL]
    for operation, _ in lowered:
        operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        for operation, precision in lowered:
            operation.fp32_precision = "none" if precision == inherited else precision
