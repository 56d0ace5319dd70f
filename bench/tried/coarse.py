"""A pass with few windows that decides which windows of the full grid are run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.overlap import overlap
from bench.tried.case import CPU, Case, slices_at
from swfastedit_core.box import Box, triple
from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine import make_engine
from swfastedit_core.windows import WindowPlan, gaussian_weights

COARSE_OVERLAP = 0.25
CANDIDATE_LOGIT = -4.0  # of a coarse pass: above it a voxel is looked at again
WORTH = 0.02  # share of a voxel's weight from which on a window is run for it


def coarse(_: Checkpoint, box: Checkpoint, cases: list[Case]) -> list[dict[str, Any]]:
    """Run windows of the full grid for candidates of a coarse pass only, all else as that pass has it."""
    engine, rows = make_engine(box, device=CPU), []
    for case in cases:
        full, first = case.plan(body=False), case.plan(overlap=COARSE_OVERLAP)
        expected = case.logits(engine, full) > 0
        logits = case.logits(engine, first)
        candidates = logits > CANDIDATE_LOGIT
        picked = worth_running(full, candidates)
        if picked:
            again = case.logits(engine, replace(full, starts=picked, region=_region(picked, case.window)))
            logits = torch.where(candidates, again, logits)
        body = case.logits(engine, case.plan()) > 0
        rows.append(
            {
                "scan": case.name,
                "body, Dice": overlap(expected.numpy(), body.numpy()),
                "coarse first, Dice": overlap(expected.numpy(), (logits > 0).numpy()),
                "body, windows": len(case.plan().starts),
                "coarse first, windows": len(first.starts) + len(picked),
                "full grid, windows": len(full.starts),
            }
        )
    return rows


def worth_running(plan: WindowPlan, wanted: Tensor) -> tuple[tuple[int, int, int], ...]:
    """Pick the windows that carry a share of the weight of a wanted voxel.

    Parameters
    ----------
    plan
        Of the whole grid.
    wanted
        bool [X, Y, Z] of the image, without padding.
    """
    weights = gaussian_weights(plan.window)
    total = torch.zeros(plan.region.shape)
    for x, y, z in plan.starts:
        total[slices_at((x, y, z), plan.window)] += weights
    there = torch.zeros(plan.region.shape, dtype=torch.bool)
    before = [pair[0] for pair in plan.padding]
    there[tuple(slice(b, b + side) for b, side in zip(before, wanted.shape, strict=True))] = wanted
    limit = WORTH * total.masked_fill(~there, torch.inf)
    return tuple(start for start in plan.starts if (weights >= limit[slices_at(start, plan.window)]).any())


def _region(starts: tuple[tuple[int, int, int], ...], window: tuple[int, int, int]) -> Box:
    corners = np.array(starts)
    low, high = corners.min(axis=0), corners.max(axis=0) + window
    return Box(triple(low.tolist()), triple(high.tolist()))
