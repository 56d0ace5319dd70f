"""A scan on a network's grid, for what is tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box
from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.engine import Engine
from swfastedit_core.evaluate.metrics import dice
from swfastedit_core.inferer import UNSEEN_LOGIT, infer
from swfastedit_core.intensity import scale_intensity
from swfastedit_core.pipeline import OVERLAP
from swfastedit_core.preprocess import Placement, place, restore, to_network_grid
from swfastedit_core.train.data.sources import Source, read_source
from swfastedit_core.windows import Body, WindowPlan, find_body, plan_windows

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Case:
    """A scan on a network's grid.

    Attributes
    ----------
    image
        float32 [1, X, Y, Z].
    truth_zyx
        Its label on its own grid, bool.
    """

    name: str
    image: Tensor
    placement: Placement
    body: Body
    window: tuple[int, int, int]
    truth_zyx: np.ndarray

    def plan(self, *, overlap: float = OVERLAP, body: bool = True) -> WindowPlan:
        """Lay windows over the body, or over everything."""
        shape = self.placement.network_shape
        return plan_windows(shape, window=self.window, overlap=overlap, body=self.body if body else None)

    def logits(self, engine: Engine, plan: WindowPlan) -> Tensor:
        """Run windows; return float32 [X, Y, Z] of the whole grid."""
        found = torch.full(self.placement.network_shape, UNSEEN_LOGIT)
        found[plan.image_box.slices] = infer(self.image, plan, engine)
        return found

    def score(self, logits: Tensor) -> float:
        """Return the Dice of logits on the network's grid against the label on the scan's."""
        on_file, _ = restore(logits, Box.whole(self.placement.network_shape), self.placement)
        return dice(self.truth_zyx, on_file.numpy() > 0)


def read_case(source: Source, config: CheckpointConfig) -> Case:
    """Read a scan and bring it to a network's grid."""
    scan = read_source(source)
    placement = place(scan.pet.geometry, config.preprocessing.spacing_mm)
    suv = to_network_grid(scan.pet, placement, CPU)
    body = find_body(suv, config.preprocessing.spacing_mm)
    assert body is not None
    image = scale_intensity(suv, config.preprocessing.intensity)[None]
    return Case(source.case, image, placement, body, config.window, scan.label.array_zyx > 0)


def slices_at(start: tuple[int, ...], window: tuple[int, int, int]) -> tuple[slice, ...]:
    """Return where a window lies that starts there."""
    return tuple(slice(a, a + side) for a, side in zip(start, window, strict=True))
