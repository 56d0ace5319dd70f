"""What the checks of a GPU share: device, scan and weights, and how two masks are compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.speed import SEED
from swfastedit_core.checkpoint import Checkpoint, read_checkpoint
from swfastedit_core.engine import TorchEngine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.phantom import field_of_view, make_phantom
from swfastedit_core.pipeline import segment
from swfastedit_core.planning import OVERLAP
from swfastedit_core.volume import Geometry, Volume

DEMO_WEIGHTS = Path("weights/demo.safetensors")
SMALL_SEED, SMALL_MM = 11, (6.0, 6.0, 6.0)

Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What the checks share: device, scan, weights."""

    device: torch.device
    pet: Volume
    checkpoint: Checkpoint

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU. Without one, the program is only rehearsed."""
        return self.device.type == "cuda"

    @property
    def fast(self) -> str:
        """The half precision of the device that is checked most."""
        return "float16" if self.on_cuda else "float32"

    @cached_property
    def windows(self) -> list[Tensor]:
        """Nine random windows of the network, on the CPU."""
        generator = torch.Generator().manual_seed(SEED)
        return [torch.rand((1, *self.checkpoint.config.window), generator=generator) for _ in range(9)]

    def engine(self, precision: str, *, batch: int | None = None, device: torch.device | None = None) -> TorchEngine:
        """Make an engine of the demonstration weights."""
        return TorchEngine(self.checkpoint, device=device or self.device, precision=precision, batch=batch)

    def mask(self, engine: TorchEngine) -> np.ndarray:
        """Segment the scan: uint8 [Z, Y, X]. On a CPU few windows run."""
        overlap = OVERLAP if self.on_cuda else 0.0
        return segment(self.pet, Ensemble([engine]), full_grid=self.on_cuda, overlap=overlap).mask.array_zyx

    def logits(self, engine: TorchEngine) -> Tensor:
        """Run the nine windows: float32 [9, X, Y, Z] on the CPU."""
        windows = (window.to(self.device) for window in self.windows)
        return torch.stack([logits.cpu().clone() for logits in engine.stream(windows)])


def make_trial(device: torch.device) -> Trial:
    """Make the scan and read the weights."""
    return Trial(device, make_phantom(SMALL_SEED, geometry=small_grid()).pet, read_checkpoint(DEMO_WEIGHTS))


def differing_share(expected: np.ndarray, mask: np.ndarray) -> float:
    """Return the number of voxels that differ, divided by the voxels of the expected mask, or by 1 if it is empty."""
    differing = int(np.count_nonzero((expected != 0) != (mask != 0)))
    return differing / max(int(np.count_nonzero(expected)), 1)


def compare(name: str, expected: np.ndarray, mask: np.ndarray, *, at_most: float) -> Row:
    """Compare two masks: passed if at most this share of the voxels differs."""
    share = differing_share(expected, mask)
    row = {"check": f"{name}, differing share", "passed": share <= at_most}
    return {**row, "value": share, "expected": f"{at_most} at most"}


def needs_gpu(name: str) -> Row:
    """Return the row of a check that needs a GPU."""
    return {"check": name, "passed": None, "value": "no GPU", "expected": "a GPU"}


def small_grid() -> Geometry:
    """Return the grid of the scan."""
    return field_of_view(SMALL_SEED, spacing_mm=SMALL_MM)
