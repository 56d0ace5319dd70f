"""What a cache of compiled networks and a shared gathering would save, in seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.tried.case import CPU, Case
from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine import Engine, make_engine, resolve_precision
from swfastedit_core.engine.openvino_engine import OpenVinoEngine
from swfastedit_core.engine.openvino_runtime import openvino

ROUNDS = 5


def cache(large: Checkpoint, _: Checkpoint, __: list[Case]) -> list[dict[str, Any]]:
    """Time what a cache of compiled networks would save."""
    rows = []
    for _round in range(ROUNDS):
        start = time.perf_counter()
        engine = OpenVinoEngine(large, precision=resolve_precision("auto", CPU))
        compiled = engine.compiled()
        made = time.perf_counter()
        blob = compiled.export_model().getvalue()
        exported = time.perf_counter()
        openvino.Core().import_model(blob, "CPU", engine.options(engine.batch))
        seconds = {"compile, s": made - start, "import, s": time.perf_counter() - exported}
        rows.append({"network": "31 M", **seconds, "file, MB": len(blob) / 1e6})
    return [_medians(rows)]


class Idle:
    """An engine that does nothing: what is left is gathering and blending."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logits = torch.zeros(engine.config.window)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """See `Engine`."""
        copy = torch.empty((1, *self._logits.shape))
        for window in windows:
            copy.copy_(window)
            yield self._logits


def sharing(large: Checkpoint, box: Checkpoint, cases: list[Case]) -> list[dict[str, Any]]:
    """Time all that is not the network."""
    case, rows = cases[0], []
    for name, checkpoint in (("31 M", large), ("in the box", box)):
        engine = make_engine(checkpoint, device=CPU)
        here = case if checkpoint is box else replace(case, window=checkpoint.config.window)
        plan = here.plan()
        few = replace(plan, starts=plan.starts[:8])
        seconds = {}
        for label, one in (("network and all", engine), ("all but the network", Idle(engine))):
            here.logits(one, few)
            start = time.perf_counter()
            here.logits(one, few)
            seconds[label] = (time.perf_counter() - start) / len(few.starts)
        share = seconds["all but the network"] / seconds["network and all"]
        rows.append({"network": name, **seconds, "share": share})
    return rows


def _medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    return {
        name: statistics.median(row[name] for row in rows) if isinstance(value, float) else value
        for name, value in first.items()
    }
