"""PyTorch's global settings while an engine runs. A program that calls this one may have changed them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

FULL = ("ieee", "none")  # values of fp32_precision with which float32 is computed in full


@contextmanager
def engine_settings(device: torch.device) -> Iterator[None]:
    """Set what the engine needs, and restore the settings at the end.

    - No gradients and no autocast: the engine chooses the precision.
    - float32 is computed in full. By default, cuDNN computes it in TF32, with 10 bits of mantissa;
      ``torch.set_float32_matmul_precision("medium")`` and ``torch.backends.fp32_precision`` let oneDNN use bfloat16.
    - No cuDNN benchmark: it may choose other algorithms in each process, and they round differently.

    `torch.backends.cudnn.flags` is not used: it fails if a program has set ``fp32_precision`` of some operations.

    Parameters
    ----------
    device
        Device of the network.
    """
    cudnn: Any = torch.backends.cudnn  # torch has no stub for `conv` and `matmul`
    mkldnn: Any = torch.backends.mkldnn
    operations = [cudnn.conv, mkldnn.conv, mkldnn.matmul]  # oneDNN's convolution follows the setting of matmul, too
    before = [(operation, operation.fp32_precision) for operation in operations]
    lowered = [(operation, precision) for operation, precision in before if precision not in FULL]
    benchmark = cudnn.benchmark
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        try:
            cudnn.benchmark = False
            for operation, _ in lowered:
                operation.fp32_precision = "ieee"
            yield
        finally:
            cudnn.benchmark = benchmark
            for operation, precision in lowered:
                operation.fp32_precision = precision
