"""Device and precision, from the names that users give."""

from __future__ import annotations

import logging

import torch

from swfastedit_core.errors import UserError

logger = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICES = ("cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device of this machine.

    ``auto`` is the first GPU that works, else the CPU. A GPU may be too old or too new for the kernels in this torch,
    or in use by a program that allows no other.

    Raises
    ------
    UserError
        If the name is none of these, or the machine has no such device, or it does not work.
    """
    if name == "auto":
        return _first_working_gpu() or torch.device("cpu")
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
        device = torch.device("cuda", device.index or 0)
        if fault := _fault_of_gpu(device):
            raise UserError(f"device '{name}' does not work ({fault}); use --device cpu or auto")
        return device
    return torch.device("cpu")


def _first_working_gpu() -> torch.device | None:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        fault = _fault_of_gpu(device)
        if fault is None:
            return device
        logger.warning("the GPU %d is not used: %s", index, fault)
    return None


def _fault_of_gpu(device: torch.device) -> str | None:
    """Run a kernel; return why that failed, or None."""
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:  # "no kernel image is available for execution on the device", and others
        return str(error).strip().split("\n")[0].removeprefix("CUDA error: ")
    return None


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
