"""Validation on whole scans, with the inference of `process.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch

from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.engine import make_engine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import UserError
from swfastedit_core.interactive.simulate.autopet4 import SEED, autopet4_clicks
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


@dataclass(frozen=True, eq=False)
class Validated:
    """A scan of a validation.

    Attributes
    ----------
    plain
        The mask without clicks.
    clicked
        The mask with simulated clicks; None if none were asked for.
    """

    plain: Projection
    clicked: Projection | None = None


def validate(
    checkpoint: Checkpoint,
    held_out: Sequence[Source],
    *,
    device: torch.device,
    overlap: float,
    clicks: int = 0,
    should_stop: Callable[[], bool],
    warn: Callable[[str], None],
) -> list[Validated]:
    """Segment scans as `process.py` does, with this overlap, and compare the masks with the labels.

    With clicks, each scan is segmented twice: without and with clicks. The clicks are those of `simulated_clicks`, the
    same in every validation.

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
    clicks
        Number of tumour clicks and of background clicks, for a network that takes clicks; 0 for none.
    should_stop
        Called before each scan; the validation ends when it returns True.
    warn
        Takes a line for each scan that is left out.

    Returns
    -------
    list of Validated
        One for each scan that was segmented.
    """
    engine = make_engine(checkpoint, device=device)
    with_ct = checkpoint.config.channels.takes_ct
    validated = []
    for source in takewhile(lambda _: not should_stop(), held_out):
        try:
            scan = read_source(source, with_ct=with_ct)
            given = [(), simulated_clicks(scan, clicks)] if clicks else [()]
            projections = [
                _project(source.case, scan, Ensemble([engine]), overlap=overlap, clicks=of_an_annotator)
                for of_an_annotator in given
            ]
        except Exception as error:  # errors of libraries as well, such as too little memory
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            warn(f"warning: {source.case} is left out of this validation: {kind}{' '.join(str(error).split())}")
            continue
        validated.append(Validated(*projections))
    return validated


def simulated_clicks(scan: Scan, number: int) -> tuple[Click, ...]:
    """Return the clicks of a scan, as autoPET IV simulates them: from label and SUV, with the challenge's seed.

    Parameters
    ----------
    scan
        The scan with its label.
    number
        Number of tumour clicks and of background clicks. There are none of tumour where there is no lesion.
    """
    simulated = autopet4_clicks(scan.label.array_zyx, scan.pet.array_zyx, np.random.default_rng(SEED), budget=number)
    return tuple(
        Click(kind, (int(x), int(y), int(z)))
        for kind, of_kind in (
            (ClickKind.TUMOUR, simulated.tumour),
            (ClickKind.BACKGROUND, simulated.background),
        )
        for z, y, x in of_kind
    )


def mean_scores(scores: Sequence[Score]) -> dict[str, float]:
    """Average each score over the scans that define it, as the challenges do; NaN if no scan does."""
    columns = {name: [getattr(score, name) for score in scores] for name in ("dice", "fpv_ml", "fnv_ml")}
    defined = {name: [value for value in values if math.isfinite(value)] for name, values in columns.items()}
    return {name: sum(values) / len(values) if values else math.nan for name, values in defined.items()}


def key_score(means: Mapping[str, float]) -> float:
    """Return the score by which a validation is the best: the mean Dice; with clicks, the mean of both mean Dices.

    An interactive network is used without clicks first, then with clicks. The Dice without clicks alone would choose
    weights that ignore clicks; the Dice with clicks alone would choose weights that find nothing without them.

    Parameters
    ----------
    means
        From `mean_scores`; those with clicks have the prefix ``clicked_``.
    """
    return (means["dice"] + means.get("clicked_dice", means["dice"])) / 2


def score_mask(case: str, label: np.ndarray, mask: np.ndarray, *, voxel_ml: float) -> Score:
    """Score a mask against a label, both [Z, Y, X]; lesions are above 0."""
    return Score(
        case,
        dice(label, mask),
        false_positive_ml(label, mask, voxel_ml=voxel_ml),
        false_negative_ml(label, mask, voxel_ml=voxel_ml),
    )


def _project(case: str, scan: Scan, networks: Ensemble, *, overlap: float, clicks: Sequence[Click]) -> Projection:
    """Segment a scan, score the mask and project it with scan and label."""
    mask = segment(scan.pet, networks, ct=scan.ct, clicks=clicks, overlap=overlap).mask.array_zyx
    label, geometry = scan.label.array_zyx, scan.pet.geometry
    label_ml, mask_ml = (float(np.count_nonzero(array) * geometry.voxel_ml) for array in (label, mask))
    suv_mip, label_mip, mask_mip = (mip(Volume(array, geometry)) for array in (scan.pet.array_zyx, label, mask))
    score = score_mask(case, label, mask, voxel_ml=geometry.voxel_ml)
    return Projection(score, suv_mip, label_mip, mask_mip, label_ml, mask_ml)
