"""Engines run a network on windows. `make_engine` chooses the engine and its precision."""

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

__all__ = ["ENGINES", "Engine", "TorchEngine", "free_bytes", "make_engine", "resolve_device", "resolve_precision"]

ENGINES = ("auto", "openvino", "torch")


class Engine(Protocol):
    """A network that runs on windows. The constructor starts its preparation in the background.

    Attributes
    ----------
    name
        Name of the engine, for records.
    config
        Description of the network and its input.
    source
        File of the weights.
    device
        Device of the windows and of the logits.
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
        """Windows at a time; the engine lowers it if memory runs out."""
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
            It is overwritten when the next one is requested.

        Raises
        ------
        WindowTooLargeError
            If memory runs out with one window at a time. With more, the engine continues with fewer.
        """
        ...

    def in_float32(self) -> Engine | None:
        """Return an engine of the same network in float32, for a scan whose output is not finite in float16.

        None if this engine's precision is not float16, or the user chose it.
        """
        ...

    def warm_up_calls(self) -> Iterator[int]:
        """Yield numbers of windows. If they run, one number after the other, all is prepared that will run later."""
        ...

    def wait(self) -> None:
        """Wait for the end of the preparation; raise its error, unless the engine can continue."""
        ...

    def working_set_bytes(self, batch: int) -> int:
        """Estimate the memory of `batch` windows at a time, without the weights."""
        ...


def make_engine(
    checkpoint: Checkpoint,
    *,
    device: torch.device,
    precision: str = "auto",
    engine: str = "auto",
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
        ``auto``, ``float32``, ``bfloat16`` or ``float16``. With ``auto``, a scan whose output is not finite in float16
        is repeated in float32.
    engine
        ``openvino`` (CPU only), ``torch``, or ``auto``: OpenVINO on a CPU if it is installed, else PyTorch.
    batch
        Windows at a time; None lets the engine choose.

    Raises
    ------
    UserError
        If precision or engine are unknown or do not fit the device.
    """
    if engine not in ENGINES:
        raise UserError(f"engine '{engine}', expected one of {', '.join(ENGINES)}")
    installed = find_spec("openvino") is not None
    if engine == "openvino" and not (installed and device.type == "cpu"):
        reason = "is not installed; run `pip install openvino`" if not installed else f"does not run on {device}"
        raise UserError(f"engine 'openvino' {reason}, or use --engine torch")
    repeat = precision == "auto"
    precision = resolve_precision(precision, device)
    if engine == "torch" or device.type != "cpu" or not installed:
        return TorchEngine(checkpoint, device=device, precision=precision, batch=batch, repeat_in_float32=repeat)
    if precision == "bfloat16" and not cpu_has_bfloat16():  # OpenVINO would run float32 instead
        raise UserError(
            "precision 'bfloat16': this CPU has no instructions for it; use float32, auto or --engine torch"
        )
    from swfastedit_core.engine.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(checkpoint, precision=precision, batch=batch)
