"""Run a network on a batch of windows: device, precision and memory are chosen here, once."""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from torch import Tensor, nn

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.model import DynUNet

logger = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_BATCH = {"cpu": 1, "cuda": 4}  # windows at a time
# Memory of a call on the CPU, measured within 20 % for networks of 2 and 31 M parameters and both precisions:
LIVE_TENSORS = 6  # feature maps of the first level that exist at once
SCRATCH_BYTES = 150_000_000  # of the convolution library


class Engine(Protocol):
    """A network ready to run.

    Attributes
    ----------
    name
        Of the backend, for reports.
    config
        What the network expects.
    source
        File the weights came from.
    device
        Where windows are expected, and logits come out.
    precision
        Name of the number format of the activations.
    default_batch
        Windows a call where the user does not say.
    """

    name: str
    config: CheckpointConfig
    source: str
    device: torch.device
    precision: str
    default_batch: int

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the tumour's logit minus the background's.

        Parameters
        ----------
        windows
            float32 [N, C, X, Y, Z] on `device`.

        Returns
        -------
        Tensor
            float32 [N, X, Y, Z] on `device`.

        Raises
        ------
        RuntimeError, MemoryError
            If memory runs out, see `errors.is_out_of_memory`. The engine can be called again, with a smaller batch.
        """
        ...

    def working_set_bytes(self, batch: int) -> int:
        """Estimate the memory that a call with `batch` windows takes beyond the weights."""
        ...


class TorchEngine:
    """PyTorch on the CPU or on one CUDA device; see `Engine`."""

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device, precision: str) -> None:
        self.config = checkpoint.config
        self.source = str(checkpoint.path)
        self.device = device
        self.precision = precision
        self.default_batch = DEFAULT_BATCH[device.type]
        self._dtype = PRECISIONS[precision]
        # On CUDA channels-last is the layout of the tensor cores; on the CPU oneDNN chooses its own blocked layout
        # and the default is as fast.
        self._layout = torch.channels_last_3d if device.type == "cuda" else torch.contiguous_format
        network = difference_network(checkpoint.network())
        self._network = network.to(device=device, dtype=self._dtype, memory_format=self._layout)  # type: ignore[call-overload]

    def __call__(self, windows: Tensor) -> Tensor:
        """See `Engine`."""
        # float32 means float32: cuDNN's default for it is TF32, with 10 bits of mantissa.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            windows = windows.to(self._dtype).contiguous(memory_format=self._layout)
            return self._network(windows)[:, 0].float()  # type: ignore[no-any-return]

    def working_set_bytes(self, batch: int) -> int:
        """See `Engine`: a few feature maps of the first level outweigh all the others."""
        x, y, z = self.config.window
        return SCRATCH_BYTES + LIVE_TENSORS * batch * self.config.network.filters[0] * x * y * z * self._dtype.itemsize


def difference_network(network: DynUNet) -> DynUNet:
    """Fold the two output channels into one: tumour logit minus background logit.

    Half the memory of the logits, and in half precision the difference is rounded once, not twice.
    """
    folded = nn.Conv3d(network.config.filters[0], 1, 1)
    state = network.output_block.conv.conv.state_dict()
    folded.load_state_dict({name: tensor[1:] - tensor[:1] for name, tensor in state.items()})
    network.output_block.conv.conv = folded
    return network


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that is there.

    Raises
    ------
    UserError
        If the name is none of these or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device '{name}', expected auto, cpu, cuda or cuda:N") from error
    if device.type not in DEFAULT_BATCH:
        raise UserError(f"device '{name}', expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(f"device '{name}' is not there: {count} CUDA device(s) found; use --device cpu or auto")
        return torch.device("cuda", device.index or 0)
    return torch.device("cpu")


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn ``auto`` into a precision that the device is fast in.

    float16 on CUDA; on the CPU bfloat16 where it has instructions for it, else float32.

    Raises
    ------
    UserError
        If the name is unknown, or names float16 for a CPU.
    """
    if name == "auto":
        if device.type == "cuda":
            return "float16"
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    if name not in PRECISIONS:
        raise UserError(f"precision '{name}', expected auto, {', '.join(PRECISIONS)}")
    if name == "float16" and device.type == "cpu":
        raise UserError("precision 'float16' on a CPU is slower than float32; use bfloat16, float32 or auto")
    return name


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported()
