"""The mean of a scan's logits and those of its mirror image."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np

from bench.tried.case import CPU, Case
from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine import make_engine
from swfastedit_core.windows import Body


def mirror(_: Checkpoint, box: Checkpoint, cases: list[Case]) -> list[dict[str, Any]]:
    """Average with the mirror image, left to right; it costs twice the time."""
    rows: list[dict[str, Any]] = []
    engine = make_engine(box, device=CPU)
    for case in cases:
        if not case.truth_zyx.any():
            continue
        logits = case.logits(engine, case.plan())
        body = replace(case.body, cells=mirrored_cells(case.body))
        there = replace(case, image=case.image.flip(1), body=body)
        mirrored = there.logits(engine, there.plan()).flip(0)
        rows.append({"scan": case.name, "Dice": case.score(logits), "with mirror": case.score((logits + mirrored) / 2)})
    means = {name: statistics.mean(row[name] for row in rows) for name in ("Dice", "with mirror")}
    return [*rows, {"scan": "mean", **means}]


def mirrored_cells(body: Body) -> np.ndarray:
    """Mirror the body's cells; those of the last column may be cut off, so that they do not fall on one another."""
    voxels = body.cells.repeat(body.cell[0], axis=0)[: body.shape[0]][::-1]
    missing = -len(voxels) % body.cell[0]
    padded = np.concatenate([voxels, np.zeros((missing, *voxels.shape[1:]), bool)])
    return np.asarray(padded.reshape(-1, body.cell[0], *voxels.shape[1:]).any(axis=1))
