"""Segment and score the cases of data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.challenge.console import progress_bar
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.evaluate.case_loop import Outcome, Work, run_cases
from swfastedit_core.evaluate.cohort import Scoring, score_volumes
from swfastedit_core.evaluate.named_sources import NamedSource
from swfastedit_core.evaluate.stored_results import StoredResults
from swfastedit_core.files.write import write_mask
from swfastedit_core.metrics.overlap_scores import OverlapScores
from swfastedit_core.metrics.scores import Scores
from swfastedit_core.pipeline import segment
from swfastedit_core.train.data.sources import Scan


@dataclass(frozen=True, kw_only=True)
class Segmenting:
    """How cases are segmented and scored, and what is written.

    Attributes
    ----------
    options, scoring
        How they are segmented and scored.
    overwrite
        Whether a mask may replace a file that is not a mask of this program.
    quiet
        Print no progress.
    """

    options: CaseOptions
    scoring: Scoring
    overwrite: bool = False
    quiet: bool = False


def evaluate_cases(
    cases: Sequence[NamedSource],
    networks: Ensemble,
    how: Segmenting,
    *,
    stored: StoredResults[Scores],
    say: Callable[[str], None],
) -> Outcome[Scores]:
    """Segment and score cases; see `run_cases`.

    Parameters
    ----------
    cases, networks, stored, say
        As for `run_cases`.
    how
        How they are segmented and scored.
    """
    work = Work(
        score=partial(_segment_and_score, networks=networks, how=how),
        describe=describe_scores,
        overwrite=how.overwrite,
        quiet=how.quiet,
    )
    return run_cases(cases, networks, work, stored=stored, say=say)


def _segment_and_score(case: NamedSource, scans: list[Scan], *, networks: Ensemble, how: Segmenting) -> Scores:
    """Segment the scan of a list, which is emptied: its voxels are released when they are not needed any more."""
    scan = scans.pop()
    label, pets, cts = scan.label, [scan.pet], [scan.ct]
    del scan
    with progress_bar(case.name, quiet=how.quiet) as progress:
        mask = segment(
            pets.pop(),
            networks,
            ct=cts.pop(),
            full_grid=how.options.full_grid,
            overlap=how.options.overlap,
            majority=how.options.majority,
            min_lesion_ml=how.options.min_lesion_ml,
            progress=progress,
        ).mask
    scores = score_volumes(label, mask, how.scoring)
    if case.mask is not None:
        write_mask(mask, case.mask)  # last: the result is stored with the state of this file
    return scores


def describe_scores(scores: Scores | OverlapScores) -> str:
    """Return Dice, FPV and FNV in a few words."""
    figures = {"Dice": f"{scores.dice:.3f}", "FPV": f"{scores.fpv_ml:.1f} ml", "FNV": f"{scores.fnv_ml:.1f} ml"}
    return ", ".join(f"{name} {text if 'nan' not in text else 'not defined'}" for name, text in figures.items())
