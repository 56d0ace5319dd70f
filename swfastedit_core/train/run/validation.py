"""Validation on whole scans, by the code that users run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch

from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine import make_engine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.metrics import dice, false_negative_ml, false_positive_ml
from swfastedit_core.pipeline import segment
from swfastedit_core.train.data.sources import Scan, Source, read_source


@dataclass(frozen=True)
class Score:
    """How good one mask is.

    Attributes
    ----------
    case
        Name of the scan.
    dice
        NaN where there is no lesion.
    fpv_ml, fnv_ml
        False positive and false negative volume; the latter NaN where there is no lesion.
    """

    case: str
    dice: float
    fpv_ml: float
    fnv_ml: float


@dataclass(frozen=True, eq=False)
class Projection:
    """A scan seen from the front: maxima along its second axis, [Z, X], with the size of a pixel.

    Attributes
    ----------
    score
        Of the mask.
    suv
        float32.
    truth, found
        bool.
    truth_ml, found_ml
        Volumes of label and mask.
    pixel_mm
        Along z and x.
    """

    score: Score
    suv: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    truth_ml: float
    found_ml: float
    pixel_mm: tuple[float, float]


def validate(
    checkpoint: Checkpoint,
    held_out: Sequence[Source],
    *,
    device: torch.device,
    overlap: float,
    stop: Callable[[], bool],
    warn: Callable[[str], None],
) -> list[Projection]:
    """Segment scans as `process.py` does, apart from the overlap, and compare with their labels.

    A scan that cannot be segmented, for whatever reason, is told and left out: days of learning do not end for it.

    Parameters
    ----------
    checkpoint
        The network as it is now.
    held_out
        Scans it does not learn from. One is in memory at a time.
    device
        Of the network. Its precision there is the one that users get.
    overlap
        Share of a window's side that neighbours have in common.
    stop
        Asked before each scan; once it says True, the rest is left.
    warn
        Told of each scan that was left out, and why.
    """
    engine = make_engine(checkpoint, device=device)
    with_ct = checkpoint.config.channels.takes_ct
    found = []
    for source in takewhile(lambda _: not stop(), held_out):
        try:
            scan = read_source(source, with_ct=with_ct)
            mask = segment(scan.pet, Ensemble([engine]), ct=scan.ct, overlap=overlap).mask.array_zyx
        except Exception as error:  # of a library as well, and where memory ran out
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            warn(f"warning: {source.case} is left out of this validation: {kind}{' '.join(str(error).split())}")
            continue
        found.append(_compared(source.case, scan, mask))
    return found


def means(scores: Sequence[Score]) -> dict[str, float]:
    """Average each measure over the scans in which it is defined, as the challenges do; NaN where none is."""
    columns = {name: [getattr(score, name) for score in scores] for name in ("dice", "fpv_ml", "fnv_ml")}
    kept = {name: [v for v in values if math.isfinite(v)] for name, values in columns.items()}
    return {name: sum(values) / len(values) if values else math.nan for name, values in kept.items()}


def compare(case: str, truth: np.ndarray, mask: np.ndarray, *, voxel_ml: float) -> Score:
    """Score a mask against a label, both [Z, Y, X] with lesions above 0."""
    return Score(
        case,
        dice(truth, mask),
        false_positive_ml(truth, mask, voxel_ml=voxel_ml),
        false_negative_ml(truth, mask, voxel_ml=voxel_ml),
    )


def _compared(case: str, scan: Scan, mask: np.ndarray) -> Projection:
    truth, geometry = scan.label.array_zyx, scan.pet.geometry
    score = compare(case, truth, mask, voxel_ml=geometry.voxel_ml)
    x_mm, _, z_mm = geometry.spacing_mm
    truth_ml, found_ml = (float(np.count_nonzero(array) * geometry.voxel_ml) for array in (truth, mask))
    suv, truth, mask = (array.max(axis=1) for array in (scan.pet.array_zyx, truth, mask))
    return Projection(score, suv, truth > 0, mask > 0, truth_ml, found_ml, (z_mm, x_mm))
