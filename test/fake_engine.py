"""An engine without a network: a test defines what windows become."""

from __future__ import annotations

import torch

from swfastedit_core.engine.batches import BatchSize, in_batches
from swfastedit_core.errors import WindowTooLargeError


class FakeEngine:
    """An engine whose subclasses define in `__call__` what windows [N, C, X, Y, Z] become, [N, X, Y, Z]."""

    name, source, precision, device = "fake", "fake.safetensors", "float32", torch.device("cpu")
    batch = 1

    def stream(self, windows):
        size = BatchSize([self.batch])
        return in_batches(
            lambda chunk: self(torch.stack(chunk)),
            windows,
            size,
            device=self.device,
            too_large=lambda: WindowTooLargeError(f"{self.source}: one window is too large"),
        )

    def in_float32(self):
        return None

    def warm_up_calls(self):
        yield self.batch

    def wait(self):
        pass

    def working_set_bytes(self, batch):
        return batch * 3_000_000_000
