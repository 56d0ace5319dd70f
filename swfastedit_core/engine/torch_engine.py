"""The PyTorch engine, for the CPU and for one CUDA device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property

import torch
from torch import Tensor, nn

from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine.batches import BatchSize, in_batches
from swfastedit_core.engine.choice import PRECISIONS, free_bytes
from swfastedit_core.engine.torch_norm import keep_channels_last
from swfastedit_core.engine.torch_settings import engine_settings
from swfastedit_core.errors import WindowTooLargeError, window_too_large
from swfastedit_core.model import DynUNet
from swfastedit_core.system.threads import start_in_thread

BATCHES = (1, 2, 4, 8)  # sizes to try on CUDA
FREE_SHARE = 0.8  # share of a GPU's free memory that windows may use
# Memory of a call; within 20 % of measurements on the CPU, for networks of 2 and 31 M parameters, in both precisions:
LIVE_TENSORS = 6  # feature maps of the first level in memory at a time
SCRATCH_BYTES = 150_000_000  # of the convolution library


class TorchEngine:
    """PyTorch on the CPU or on one CUDA device; see `Engine`.

    Parameters
    ----------
    checkpoint
        Weights of the network.
    device
        From `resolve_device`.
    precision
        ``float32``, ``bfloat16`` or ``float16``.
    batch
        Windows at a time; None: one on a CPU, and on CUDA the fastest of 1, 2, 4 and 8.
    repeat_in_float32
        Whether `in_float32` returns an engine, if this one's precision is float16.
    """

    name = "torch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: torch.device,
        precision: str,
        batch: int | None = None,
        repeat_in_float32: bool = False,
    ) -> None:
        self.config = checkpoint.config
        self.source = str(checkpoint.path)
        self.device = device
        self.precision = precision
        self._dtype = PRECISIONS[precision]
        # Tensor cores are fastest with channels-last. On the CPU oneDNN chooses a blocked layout by itself.
        self._layout = torch.channels_last_3d if device.type == "cuda" else torch.contiguous_format
        self._fixed = batch
        self._checkpoint = checkpoint if repeat_in_float32 and precision == "float16" else None
        self._network: Future[nn.Module] = start_in_thread(lambda: self._load(checkpoint))

    @property
    def batch(self) -> int:
        """See `Engine`."""
        return self._batch.size

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """See `Engine`."""
        return in_batches(self, windows, self._batch, device=self.device, too_large=self._too_large)

    @cached_property
    def _batch(self) -> BatchSize:
        """Made on first use, when the scan is on the GPU and its memory is no longer free."""
        return BatchSize(self._batch_sizes())

    def wait(self) -> None:
        """See `Engine`."""
        self._network.result()

    def in_float32(self) -> TorchEngine | None:
        """See `Engine`."""
        return self._exact

    @cached_property
    def _exact(self) -> TorchEngine | None:
        if self._checkpoint is None:
            return None
        return TorchEngine(self._checkpoint, device=self.device, precision="float32", batch=self._fixed)

    def warm_up_calls(self) -> Iterator[int]:
        """See `Engine`."""
        while self._batch.undecided:
            yield self.batch
        yield 2 * self.batch - 1  # runs all sizes of `BatchSize.next_call`

    def __call__(self, windows: Sequence[Tensor] | Tensor) -> Tensor:
        """Run windows [C, X, Y, Z] at once; return float32 [N, X, Y, Z], tumour logit minus background logit."""
        network = self._network.result()
        with engine_settings(self.device, self._dtype):
            shape = (len(windows), *windows[0].shape)
            stacked = torch.empty(shape, dtype=self._dtype, device=self.device, memory_format=self._layout)
            for slot, window in zip(stacked, windows, strict=True):
                slot.copy_(window)
            logits: Tensor = network(stacked)[:, 0].float()
            return logits

    def working_set_bytes(self, batch: int) -> int:
        """See `Engine`. A few feature maps of the first level outweigh all others."""
        x, y, z = self.config.window
        return SCRATCH_BYTES + LIVE_TENSORS * batch * self.config.network.filters[0] * x * y * z * self._dtype.itemsize

    def _load(self, checkpoint: Checkpoint) -> nn.Module:
        network: nn.Module = difference_network(checkpoint.network())
        if self.device.type != "cuda":
            return network.to(dtype=self._dtype)
        own: torch.cuda.Stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call] # torch has no stub for it
        with torch.cuda.device(self.device), torch.cuda.stream(own):
            # Pinned memory is copied asynchronously; the stream belongs to this thread.
            for parameter in network.parameters():
                parameter.data = parameter.data.to(self._dtype).pin_memory().to(self.device, non_blocking=True)
            network = keep_channels_last(network)
            torch.cuda.current_stream(self.device).synchronize()
        return network

    def _batch_sizes(self) -> list[int]:
        if self._fixed is not None:
            return [self._fixed]
        if self.device.type != "cuda":
            return [1]
        available = FREE_SHARE * free_bytes(self.device)
        return [size for size in BATCHES if size == 1 or self.working_set_bytes(size) <= available]

    def _too_large(self) -> WindowTooLargeError:
        return window_too_large(
            self.config.window,
            needed_bytes=self.working_set_bytes(1),
            precision=self.precision,
            device=self.device,
            advice="use a lower --precision or another --device",
        )


def difference_network(network: DynUNet) -> DynUNet:
    """Replace the two output channels by one: tumour logit minus background logit.

    The logits take half the memory, and in half precision their difference is rounded once instead of twice.
    """
    difference = nn.Conv3d(network.config.filters[0], 1, 1)
    state = network.output_block.conv.conv.state_dict()
    difference.load_state_dict({name: tensor[1:] - tensor[:1] for name, tensor in state.items()})
    network.output_block.conv.conv = difference
    return network
