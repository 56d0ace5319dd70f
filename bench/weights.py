"""Scores of weights, compared with scores of SUV thresholds: ``python -m bench.weights``.

Three tests: phantoms that were not used for training; a cross-validation (--folds, --data), where the run that held a
scan out segments it; a whole-body scan (--scan).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from swfastedit_core import Ensemble, load_networks, segment
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import find_checkpoints, read_config
from swfastedit_core.errors import UserError
from swfastedit_core.metrics.overlap import dice
from swfastedit_core.preprocess import place, restore
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.train.data.labels import label_on_grid
from swfastedit_core.train.data.sources import Source, find_sources, read_source
from swfastedit_core.train.run.fine_tuning import LAST
from swfastedit_core.train.run.validation import Score, mean_scores, score_mask
from swfastedit_core.train.store.training_data import SPLIT
from swfastedit_core.volume import Volume

FIXED_SUV = 2.5
SHARE_OF_MAX = 0.41
CEILING = "label on the network's voxels"
SWEEP_SUV = np.arange(0.5, 20.01, 0.25)


@dataclass(frozen=True)
class MethodScores:
    """Mean scores of a method over the scans of a test. The fields are the columns of the table."""

    test: str
    method: str
    scans: int
    dice: float
    fpv_ml: float
    fnv_ml: float


def phantoms(weights: Sequence[Path], count: int, seed: int) -> list[MethodScores]:
    """Return scores on phantoms of a seed that training did not use.

    Raises
    ------
    UserError
        If the weights were trained with this seed.
    """
    for path in find_checkpoints(weights).files:
        training = read_config(path).training
        while training:
            if training.get("seed") == seed:
                raise UserError(f"{path}: was trained on phantoms of seed {seed}; choose another --seed")
            training = training.get("start", {}).get("training", {})
    sources = find_sources(f"phantom:{count}", seed=seed)
    networks = load_networks(*weights)
    pairs = [(source, networks) for source in sources]
    return score_methods(f"{count} phantoms, seed {seed}", pairs)


def crossvalidation(runs: Sequence[Path], data: str) -> list[MethodScores]:
    """Return scores on real scans. The run that held a scan out segments it.

    Raises
    ------
    UserError
        If a scan is held out by no run or by several.
    """
    sources = [source for source in find_sources(data, seed=0) if source.pet and source.label]
    pairs: list[tuple[Source, Ensemble]] = []
    for run in runs:
        patients = set(json.loads((run / SPLIT).read_text())["validation"])
        networks = load_networks(run / LAST)
        pairs += [(source, networks) for source in sources if source.patient in patients]
    held_out = sorted(source.case for source, _ in pairs)
    if held_out != sorted(source.case for source in sources):
        raise UserError(
            f"{len(runs)} runs hold out {len(held_out)} of {len(sources)} scans of {data}, expected each scan once"
        )
    return score_methods(f"{len(runs)}-fold cross-validation on {len(sources)} scans", pairs)


def whole_body(weights: Sequence[Path], pet: Path, label: Path) -> list[MethodScores]:
    """Return scores on one real scan."""
    source = Source(pet.parent.name, pet.parent.name, "scan", pet=pet, label=label)
    return score_methods(f"{pet.parent.name}, whole body", [(source, load_networks(*weights))])


def score_methods(test: str, pairs: Sequence[tuple[Source, Ensemble]]) -> list[MethodScores]:
    """Score networks and thresholds on the same scans.

    Parameters
    ----------
    test
        Name of the test.
    pairs
        Each scan with the networks that segment it.
    """
    scores: dict[str, list[Score]] = {}
    sweeps = []
    for source, networks in pairs:
        with_ct = networks.ct_network is not None
        scan = read_source(source, with_ct=with_ct)
        suv, truth = scan.pet.array_zyx, scan.label.array_zyx > 0
        masks = {
            "network": segment(scan.pet, networks, ct=scan.ct).mask.array_zyx,
            f"SUV {FIXED_SUV}": suv >= FIXED_SUV,
            f"{SHARE_OF_MAX:.0%} of SUVmax": suv >= SHARE_OF_MAX * suv.max(),
        }
        if networks:
            masks[CEILING] = on_network_grid(scan.label, networks[0].config.preprocessing.spacing_mm)
        candidates = truth | (suv >= SWEEP_SUV[0])  # Dice does not depend on the other voxels
        sweep = [dice(truth[candidates], suv[candidates] >= limit) for limit in SWEEP_SUV]
        sweeps.append(sweep)
        if truth.any():
            masks["best SUV of each scan"] = suv >= SWEEP_SUV[int(np.argmax(sweep))]
        for method, mask in masks.items():
            score = score_mask(source.case, truth, mask, voxel_ml=scan.pet.geometry.voxel_ml)
            scores.setdefault(method, []).append(score)
        say(f"{test}: {source.case}: Dice {scores['network'][-1].dice:.3f}")
    swept = np.nanmean(np.array(sweeps), axis=0)
    rows = [MethodScores(test, method, len(each), **mean_scores(each)) for method, each in scores.items()]
    best = SWEEP_SUV[int(np.argmax(swept))]
    return [
        *rows,
        MethodScores(test, f"best SUV for all, {best:g}", len(pairs), float(swept.max()), math.nan, math.nan),
    ]


def on_network_grid(label: Volume, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Resample a label to a network's grid, as in training, and back to a mask: the mask of a perfect network.

    Returns
    -------
    ndarray
        bool [Z, Y, X], on the label's own grid.
    """
    placement = place(label.geometry, spacing_mm)
    on_network = torch.from_numpy(label_on_grid(label, placement).astype(np.float32))
    back, _ = restore(on_network, Box.whole(placement.network_shape), placement)
    marked: np.ndarray = back.numpy() > 0.5
    return marked


def to_markdown(rows: Sequence[MethodScores]) -> str:
    """Return the figures as a table."""
    lines = ["| test | method | Dice | FPV ml | FNV ml |", "|---|---|---|---|---|"]
    for row in rows:
        figures = (f"{row.dice:.3f}", *(f"{ml:.1f}" if math.isfinite(ml) else "" for ml in (row.fpv_ml, row.fnv_ml)))
        lines.append(f"| {row.test} | {row.method} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m bench.weights", description=__doc__)
    add = parser.add_argument
    add("--weights", type=path_argument, nargs="+", default=[Path("weights")], help="default: weights/")
    add("--phantoms", type=int, default=20, help="number of phantoms; 0: none (default: %(default)s)")
    add(
        "--seed",
        type=int,
        default=77,
        help="seed of the phantoms; must differ from the seed of training (default: %(default)s)",
    )
    add("--folds", type=path_argument, nargs="+", default=[], metavar="RUN", help="all runs of a cross-validation")
    add("--data", metavar="SPEC", help="data of the cross-validation, as for --data of the training command")
    add("--scan", type=path_argument, nargs=2, metavar=("PET", "LABEL"), help="a whole-body scan and its label")
    add("--output", type=path_argument, metavar="JSON", help="file for the figures")
    return parser


def _run(options: argparse.Namespace) -> None:
    if bool(options.folds) != bool(options.data):
        raise UserError("--folds and --data belong together: the runs of a cross-validation, and their data")
    rows: list[MethodScores] = []
    if options.phantoms:
        rows += phantoms(options.weights, options.phantoms, options.seed)
    if options.folds:
        rows += crossvalidation(options.folds, options.data)
    if options.scan:
        rows += whole_body(options.weights, *options.scan)
    if not rows:
        raise UserError("nothing to test: give --phantoms, --folds with --data, or --scan")
    say(to_markdown(rows))
    if options.output:
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
