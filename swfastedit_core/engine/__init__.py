"""Engines run a network on windows. Backend, device, precision and batch are chosen here, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig
from swfastedit_core.engine.choice import cpu_has_bfloat16, free_bytes, resolve_device, resolve_precision
from swfastedit_core.engine.torch_engine import TorchEngine
from swfastedit_core.errors import UserError

__all__ = ["BACKENDS", "Engine", "TorchEngine", "free_bytes", "make_engine", "resolve_device", "resolve_precision"]

BACKENDS = ("auto", "openvino", "torch")


class Engine(Protocol):
    """A network that can run. Its construction starts the preparation in the background; `wait` waits for it.

    Attributes
    ----------
    name
        Name of the backend, for records.
    config
        Description of the network and its input.
    source
        File of the weights.
    device
        Where windows are expected and logits are returned.
    precision
        Number format of the activations, by name.
    """

    name: str
    config: CheckpointConfig
    source: str
    device: torch.device
    precision: str

    @property
    def batch(self) -> int:
        """Windows at a time; it falls when memory runs out."""
        ...

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Run window after window.

        Parameters
        ----------
        windows
            float32 [C, X, Y, Z] on `device`, of the network's window size; read one by one.

        Yields
        ------
        Tensor
            float32 [X, Y, Z] on `device`, the tumour's logit minus the background's, in the order of the windows.
            It is overwritten when the next one is read.

        Raises
        ------
        WindowTooLargeError
            If memory runs out with one window at a time. With more at a time the engine itself goes on with fewer.
        """
        ...

    def wait(self) -> None:
        """Wait for the end of the preparation; raise its error, unless the engine can go on."""
        ...

    def working_set_bytes(self, batch: int) -> int:
        """Estimate the memory of `batch` windows at a time, without the weights."""
        ...


def make_engine(
    checkpoint: Checkpoint,
    *,
    device: torch.device,
    precision: str = "auto",
    backend: str = "auto",
    batch: int | None = None,
) -> Engine:
    """Make the engine for a network.

    Parameters
    ----------
    checkpoint
        Weights of the network.
    device
        From `resolve_device`.
    precision
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    backend
        ``openvino`` (CPU only), ``torch``, or ``auto``: OpenVINO on a CPU where it is installed, else PyTorch.
    batch
        Windows at a time; None lets the backend choose.

    Raises
    ------
    UserError
        If precision or backend are unknown or do not fit the device.
    """
    if backend not in BACKENDS:
        raise UserError(f"engine '{backend}', expected one of {', '.join(BACKENDS)}")
    installed = find_spec("openvino") is not None
    if backend == "openvino" and not (installed and device.type == "cpu"):
        reason = "is not installed; run `pip install openvino`" if not installed else f"does not run on {device}"
        raise UserError(f"engine 'openvino' {reason}, or use --engine torch")
    precision = resolve_precision(precision, device)
    if backend == "torch" or device.type != "cpu" or not installed:
        return TorchEngine(checkpoint, device=device, precision=precision, batch=batch)
    if precision == "bfloat16" and not cpu_has_bfloat16():  # OpenVINO would run float32 instead
        raise UserError(
            "precision 'bfloat16': this CPU has no instructions for it; use float32, auto or --engine torch"
        )
    from swfastedit_core.engine.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(checkpoint, precision=precision, batch=batch)
