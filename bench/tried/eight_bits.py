"""Eight bits, quantised by NNCF."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

from bench.overlap import overlap
from bench.tried.case import CPU, Case, slices_at
from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine import make_engine, resolve_precision
from swfastedit_core.engine.openvino_engine import OpenVinoEngine, drawn

ROUNDS = 5
CALIBRATION_WINDOWS = 24


def int8(large: Checkpoint, box: Checkpoint, cases: list[Case]) -> list[dict[str, Any]]:
    """Quantise convolutions to eight bits with windows of the first scan, and compare masks of the same windows."""
    rows: list[dict[str, Any]] = []
    exact, half = (make_engine(box, device=CPU, precision=name) for name in ("float32", "auto"))
    eight = eight_bits(box, cases[0])
    for case in cases:
        plan = case.plan()
        expected = case.logits(exact, plan) > 0
        scores = {
            name: overlap(expected.numpy(), (case.logits(one, plan) > 0).numpy())
            for name, one in (("bfloat16", half), ("int8", eight))
        }
        rows.append({"scan": case.name, **{f"{name}, Dice": score for name, score in scores.items()}})
    here = replace(cases[0], window=large.config.window)
    few = replace(here.plan(), starts=here.plan().starts[:8])
    engines = {"bfloat16": make_engine(large, device=CPU), "int8": eight_bits(large, here)}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            start = time.perf_counter()
            here.logits(engine, few)
            seconds[name].append((time.perf_counter() - start) / len(few.starts))
    medians = {f"{name}, s a window": statistics.median(each) for name, each in seconds.items()}
    return [*rows, {"network": "31 M", **medians}]


def eight_bits(checkpoint: Checkpoint, case: Case) -> OpenVinoEngine:
    """Quantise a network after training, calibrated with windows over the body of a scan."""
    import nncf  # an experiment's own package

    plan = case.plan()
    every = max(len(plan.starts) // CALIBRATION_WINDOWS, 1)
    windows = [
        case.image[(slice(None), *slices_at(start, plan.window))][None].numpy() for start in plan.starts[::every]
    ]
    graph = nncf.quantize(drawn(checkpoint), nncf.Dataset(windows), subset_size=len(windows))
    return OpenVinoEngine(checkpoint, precision=resolve_precision("auto", CPU), draw=lambda _: graph)
