"""What was tried to be faster or better, and what it came to: ``python -m bench.tried``.

cache: compiled networks kept in memory as a file would be, against compiling them from the weights.
sharing: what an ensemble would save whose networks share gathering and blending.
mirror: the mean of a scan's logits and those of its mirror image, against the label.
coarse: a pass with few windows that decides which windows of the full grid are run.
int8: eight bits, quantised by NNCF, which has to be installed for it: ``pip install nncf``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.overlap import overlap
from bench.speed import random_weights
from swfastedit_core.atomic import replacing
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, find_checkpoints, read_checkpoint
from swfastedit_core.command import Parser, path_argument, run_command, say
from swfastedit_core.cpus import limit_threads
from swfastedit_core.engine import Engine, make_engine, resolve_precision
from swfastedit_core.engine.openvino import OpenVinoEngine, drawn
from swfastedit_core.engine.runtime import openvino
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import UNSEEN_LOGIT, infer
from swfastedit_core.intensity import scale_intensity
from swfastedit_core.metrics import dice
from swfastedit_core.pipeline import OVERLAP
from swfastedit_core.preprocess import Placement, place, restore, to_network_grid
from swfastedit_core.train.sources import Source, find_sources, read_source
from swfastedit_core.windows import Body, WindowPlan, find_body, gaussian_weights, plan_windows

CPU = torch.device("cpu")
COARSE_OVERLAP = 0.25
CANDIDATE_LOGIT = -4.0  # of a coarse pass: above it a voxel is looked at again
WORTH = 0.02  # share of a voxel's weight from which on a window is run for it
CALIBRATION_WINDOWS = 24
ROUNDS = 5


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


def mirror(_: Checkpoint, box: Checkpoint, cases: list[Case]) -> list[dict[str, Any]]:
    """Average with the mirror image, left to right; it costs twice the time."""
    engine, rows = make_engine(box, device=CPU), []
    for case in cases:
        if not case.truth_zyx.any():
            continue
        logits = case.logits(engine, case.plan())
        body = replace(case.body, cells=mirrored_cells(case.body))
        there = replace(case, image=case.image.flip(1), body=body)
        mirrored = there.logits(engine, there.plan()).flip(0)
        rows.append({"scan": case.name, "Dice": case.score(logits), "with mirror": case.score((logits + mirrored) / 2)})
    return [*rows, {"scan": "mean", **_means(rows, "Dice", "with mirror")}]


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
        total[_at((x, y, z), plan.window)] += weights
    there = torch.zeros(plan.region.shape, dtype=torch.bool)
    before = [pair[0] for pair in plan.padding]
    there[tuple(slice(b, b + side) for b, side in zip(before, wanted.shape, strict=True))] = wanted
    limit = WORTH * total.masked_fill(~there, torch.inf)
    return tuple(start for start in plan.starts if (weights >= limit[_at(start, plan.window)]).any())


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
    windows = [case.image[(slice(None), *_at(start, plan.window))][None].numpy() for start in plan.starts[::every]]
    graph = nncf.quantize(drawn(checkpoint), nncf.Dataset(windows), subset_size=len(windows))
    return OpenVinoEngine(checkpoint, precision=resolve_precision("auto", CPU), draw=lambda _: graph)


TRIED: dict[str, Callable[[Checkpoint, Checkpoint, list[Case]], list[dict[str, Any]]]] = {
    "cache": cache,
    "sharing": sharing,
    "mirror": mirror,
    "coarse": coarse,
    "int8": int8,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(
        prog="python -m bench.tried", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(TRIED), default=list(TRIED), metavar="WHAT", help=f"of {', '.join(TRIED)}")
    add("--scan", type=path_argument, nargs=2, metavar=("PET", "LABEL"), help="a whole-body scan and its label",
        default=[Path("../shared/data/sts_001") / name for name in ("pet.mha", "lesion.mha")])  # fmt: skip
    add("--phantoms", type=int, default=4, help="more scans (default: %(default)s)")
    add("--seed", type=int, default=78, help="of the phantoms (default: %(default)s)")
    add("--output", type=path_argument, default=Path("bench/results/tried.json"), metavar="JSON",
        help="default: %(default)s")  # fmt: skip
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    if "int8" in options.only and find_spec("nncf") is None:
        raise UserError(
            "int8 needs NNCF: `pip install nncf`, or leave it out with --only " + " ".join(list(TRIED)[:-1])
        )
    limit_threads()
    pet, label = options.scan
    box = read_checkpoint(find_checkpoints([Path("weights")])[0])
    sources = [Source(pet.parent.name, pet.parent.name, "scan", pet=pet, label=label)]
    sources += find_sources(f"phantom:{options.phantoms}", seed=options.seed) if options.phantoms else []
    cases = [read_case(source, box.config) for source in sources]
    # What is not tried this time stays.
    found: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        large = read_checkpoint(random_weights(Path(folder) / "dynunet.safetensors"))
        for name in options.only:
            found[name] = TRIED[name](large, box, cases)
            say(f"{name}\n" + "\n".join(f"  {_line(row)}" for row in found[name]))
            with replacing(options.output) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")


def _line(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
    )


def _at(start: tuple[int, ...], window: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(a, a + side) for a, side in zip(start, window, strict=True))


def _region(starts: tuple[tuple[int, int, int], ...], window: tuple[int, int, int]) -> Box:
    corners = np.array(starts)
    low, high = corners.min(axis=0), corners.max(axis=0) + window
    return Box((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))


def mirrored_cells(body: Body) -> np.ndarray:
    """Mirror the body's cells; those of the last column may be cut off, so that they do not fall on one another."""
    voxels = body.cells.repeat(body.cell[0], axis=0)[: body.shape[0]][::-1]
    missing = -len(voxels) % body.cell[0]
    padded = np.concatenate([voxels, np.zeros((missing, *voxels.shape[1:]), bool)])
    return np.asarray(padded.reshape(-1, body.cell[0], *voxels.shape[1:]).any(axis=1))


def _means(rows: list[dict[str, Any]], *names: str) -> dict[str, float]:
    return {name: statistics.mean(row[name] for row in rows) for name in names}


def _medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    return {
        name: statistics.median(row[name] for row in rows) if isinstance(value, float) else value
        for name, value in first.items()
    }


if __name__ == "__main__":
    sys.exit(main())
