"""The options of everything that segments: weights, device, engine, windows, and what happens to the mask."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.challenge.case import CaseOptions

DEFAULTS: dict[str, Any] = {
    "device": "auto",
    "engine": "auto",
    "precision": "auto",
    "region": "body",
    "overlap": CaseOptions.overlap,
    "window_batch": None,
    "vote": CaseOptions.majority,
    "min_lesion_ml": CaseOptions.min_lesion_ml,
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which networks run, and how; `api_methods.load` loads them.

    Attributes
    ----------
    weights
        Checkpoints or folders of them; empty: the default weights.
    device, engine, precision, window_batch
        As `engine.ensemble.load_networks`.
    case
        How a scan is segmented.
    quiet
        Print results only.
    """

    weights: tuple[Path, ...]
    device: str
    engine: str
    precision: str
    window_batch: int | None
    case: CaseOptions
    quiet: bool


def network_options_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `NetworkOptions`, from a parser with --weights, --geometry, --quiet and these options."""
    return {
        "weights": tuple(options.weights or ()),
        "device": options.device,
        "engine": options.engine,
        "precision": options.precision,
        "window_batch": options.window_batch,
        "case": CaseOptions(
            geometry=options.geometry,
            full_grid=options.region == "full",
            overlap=options.overlap,
            majority=options.vote,
            min_lesion_ml=options.min_lesion_ml,
        ),
        "quiet": options.quiet,
    }


def add_network_options(parser: argparse._ActionsContainer, *, only_given: bool = False) -> None:
    """Add --device, --engine, --precision, --region, --overlap, --window-batch, --vote and --min-lesion-ml.

    With `only_given`, those that are not given are None instead of their `DEFAULTS`.
    """
    parser.add_argument("--device", help=f"auto, cpu, cuda or cuda:N (default: {DEFAULTS['device']})")
    parser.add_argument(
        "--engine",
        choices=["auto", "openvino", "torch"],
        help="library that runs the network (default: openvino on CPUs, torch on CUDA)",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="number format of the network (default: float16 on CUDA; on CPUs bfloat16 if they have "
        "instructions for it, else float32)",
    )
    parser.add_argument(
        "--region",
        choices=["body", "full"],
        help=f"body: windows over the patient; full: the recipe's grid over the whole volume (default: "
        f"{DEFAULTS['region']}). "
        "The masks differ, most with weights of a short training",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        help=f"share of a window that neighbours have in common (default: {DEFAULTS['overlap']})",
    )
    parser.add_argument(
        "--window-batch",
        type=int,
        metavar="N",
        help="windows at a time; the program lowers it if memory runs out (default: the fastest number)",
    )
    parser.add_argument(
        "--vote",
        action="store_true",
        default=None,
        help="combine an ensemble by majority vote (default: by the mean of probabilities)",
    )
    parser.add_argument(
        "--min-lesion-ml",
        type=float,
        metavar="ML",
        help="clear connected components smaller than this (default: keep all)",
    )
    if not only_given:
        parser.set_defaults(**DEFAULTS)
