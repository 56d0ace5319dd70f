"""Validation on whole scans, with the inference of `process.py`."""

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
from swfastedit_core.metrics.overlap import dice, false_negative_ml, false_positive_ml
from swfastedit_core.pipeline import segment
from swfastedit_core.report.pictures.projection import Mip, mip
from swfastedit_core.train.data.sources import Scan, Source, read_source
from swfastedit_core.volume import Volume


@dataclass(frozen=True)
class Score:
    """The scores of one mask.

    Attributes
    ----------
    case
        Name of the case.
    dice
        NaN if the label has no lesion.
    fpv_ml, fnv_ml
        False positive and false negative volume; FNV is NaN if the label has no lesion.
    """

    case: str
    dice: float
    fpv_ml: float
    fnv_ml: float


@dataclass(frozen=True, eq=False)
class Projection:
    """A scan, its label and its mask from the front, with the scores of the mask.

    Attributes
    ----------
    score
        Scores of the mask.
    suv, label, mask
        Coronal projections of scan, label and mask; lesions are above 0.
    label_ml, mask_ml
        Volumes of label and mask.
    """

    score: Score
    suv: Mip
    label: Mip
    mask: Mip
    label_ml: float
    mask_ml: float


def validate(
    checkpoint: Checkpoint,
    held_out: Sequence[Source],
    *,
    device: torch.device,
    overlap: float,
    should_stop: Callable[[], bool],
    warn: Callable[[str], None],
) -> list[Projection]:
    """Segment scans as `process.py` does, with this overlap, and compare the masks with the labels.

    A scan that cannot be segmented is left out with a warning, for any reason: a validation does not end a run.

    Parameters
    ----------
    checkpoint
        The network with its current weights.
    held_out
        Validation set; one scan at a time is in memory.
    device
        Device of the network; the precision is the default of that device.
    overlap
        Overlap of neighbouring windows, as a share of a window's side.
    should_stop
        Called before each scan; the validation ends when it returns True.
    warn
        Takes a line for each scan that is left out.

    Returns
    -------
    list of Projection
        One for each scan that was segmented.
    """
    engine = make_engine(checkpoint, device=device)
    with_ct = checkpoint.config.channels.takes_ct
    projections = []
    for source in takewhile(lambda _: not should_stop(), held_out):
        try:
            scan = read_source(source, with_ct=with_ct)
            mask = segment(scan.pet, Ensemble([engine]), ct=scan.ct, overlap=overlap).mask.array_zyx
        except Exception as error:  # errors of libraries as well, such as too little memory
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            warn(f"warning: {source.case} is left out of this validation: {kind}{' '.join(str(error).split())}")
            continue
        projections.append(_project(source.case, scan, mask))
    return projections


def mean_scores(scores: Sequence[Score]) -> dict[str, float]:
    """Average each score over the scans that define it, as the challenges do; NaN if no scan does."""
    columns = {name: [getattr(score, name) for score in scores] for name in ("dice", "fpv_ml", "fnv_ml")}
    defined = {name: [value for value in values if math.isfinite(value)] for name, values in columns.items()}
    return {name: sum(values) / len(values) if values else math.nan for name, values in defined.items()}


def score_mask(case: str, label: np.ndarray, mask: np.ndarray, *, voxel_ml: float) -> Score:
    """Score a mask against a label, both [Z, Y, X]; lesions are above 0."""
    return Score(
        case,
        dice(label, mask),
        false_positive_ml(label, mask, voxel_ml=voxel_ml),
        false_negative_ml(label, mask, voxel_ml=voxel_ml),
    )


def _project(case: str, scan: Scan, mask: np.ndarray) -> Projection:
    """Score a mask [Z, Y, X] and project it with its scan and label."""
    label, geometry = scan.label.array_zyx, scan.pet.geometry
    label_ml, mask_ml = (float(np.count_nonzero(array) * geometry.voxel_ml) for array in (label, mask))
    suv_mip, label_mip, mask_mip = (mip(Volume(array, geometry)) for array in (scan.pet.array_zyx, label, mask))
    score = score_mask(case, label, mask, voxel_ml=geometry.voxel_ml)
    return Projection(score, suv_mip, label_mip, mask_mip, label_ml, mask_ml)
