"""Device and precision, from the names that users give."""

from __future__ import annotations

import torch

from swfastedit_core.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICES = ("cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device of this machine.

    Raises
    ------
    UserError
        If the name is none of these or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device '{name}', expected auto, cpu, cuda or cuda:N") from error
    if device.type not in DEVICES:
        raise UserError(f"device '{name}', expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(f"device '{name}' is not there: {count} CUDA device(s) found; use --device cpu or auto")
        return torch.device("cuda", device.index or 0)
    return torch.device("cpu")


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn ``auto`` into the device's fastest precision; check any other name.

    The fastest are float16 on CUDA, bfloat16 on a CPU with instructions for it, and float32 on other CPUs.

    Raises
    ------
    UserError
        If the name is unknown, or `name` is float16 and the device is a CPU.
    """
    if name == "auto":
        if device.type == "cuda":
            return "float16"
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    if name not in PRECISIONS:
        raise UserError(f"precision '{name}', expected auto, {', '.join(PRECISIONS)}")
    if name == "float16" and device.type == "cpu":
        raise UserError(
            "precision 'float16' is not supported on a CPU (it is slower than float32); use bfloat16, float32 or auto"
        )
    return name


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported()


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU: the driver's figure plus the memory that torch has reserved and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
