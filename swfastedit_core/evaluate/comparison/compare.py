"""``--compare A B``: two sets of scores of the same labels, case by case."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import CaseResult, Scoring
from swfastedit_core.evaluate.comparison.paired import (
    Comparison,
    Differing,
    PooledF1,
    compare_metrics,
    list_differing,
    pooled_f1,
)
from swfastedit_core.evaluate.pairs import name_some
from swfastedit_core.evaluate.results import SUMMARY
from swfastedit_core.evaluate.summary import AVERAGED
from swfastedit_core.evaluate.table import FILE as TABLE
from swfastedit_core.evaluate.table import read_table
from swfastedit_core.metrics.overlap_scores import RULES
from swfastedit_core.metrics.scores import Scores

ALL_VALUES = "all above 0"  # of lesion labels, as metrics.json has it
SAME_MEAN = 1e-9  # difference of the means of one column, by the order of the sum
SAME_VOLUME = 1e-6  # relative difference of the volumes of one label


@dataclass(frozen=True, kw_only=True)
class Side:
    """The scores of A or B.

    Attributes
    ----------
    path
        Folder of the masks or of the evaluation.
    predictions
        Where the masks came from, in words.
    results
        By case.
    rules, tolerance_mm, lesion_labels
        How the masks were scored, as ``metrics.json`` has it.
    """

    path: Path
    predictions: str
    results: Mapping[str, CaseResult]
    rules: str
    tolerance_mm: float
    lesion_labels: tuple[int, ...]

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores of the cases that have some."""
        return {case: one.scores for case, one in self.results.items() if one.scores is not None}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two sides on the same cases.

    Attributes
    ----------
    a, b
        The sides, with the same cases.
    metrics, f1, differing
        The statistics.
    notes
        What the reader must know, such as cases that were left out.
    """

    a: Side
    b: Side
    metrics: Sequence[Comparison]
    f1: PooledF1
    differing: Sequence[Differing]
    notes: tuple[str, ...]


def read_side(path: Path, score: Callable[[Path], list[CaseResult]], scoring: Scoring) -> Side:
    """Read the scores of an earlier evaluation, or score a folder of masks.

    Parameters
    ----------
    path
        Folder with ``metrics.csv`` and ``metrics.json``, or folder of masks.
    score
        Scores a folder of masks.
    scoring
        How it does.

    Raises
    ------
    UserError
        If there is no such folder, or its files are not those of an evaluation.
    """
    if not path.is_dir():
        raise UserError(f"--compare {path}: no such folder, expected masks, or the results of an evaluation ({TABLE})")
    if (path / TABLE).is_file():
        return _read_evaluation(path)
    return Side(
        path=path,
        predictions=str(path),
        results={one.case: one for one in score(path)},
        rules=scoring.rules,
        tolerance_mm=scoring.tolerance_mm,
        lesion_labels=scoring.lesion_labels,
    )


def compare_sides(a: Side, b: Side, *, skip_unpaired: bool = False) -> Compared:
    """Compare two sides.

    Parameters
    ----------
    a, b
        From `read_side`.
    skip_unpaired
        Leave out cases that have scores on one side only.

    Raises
    ------
    UserError
        If they were scored in different ways or against different labels, or a case has scores on one side only.
    """
    _require_same_scoring(a, b)
    notes = _require_same_cases(a, b, skip_unpaired=skip_unpaired)
    both = set(a.scores) & set(b.scores)
    a, b = _only(a, both), _only(b, both)
    _require_same_labels(a, b)
    return Compared(
        a=a,
        b=b,
        metrics=compare_metrics(a.scores, b.scores),
        f1=pooled_f1(a.scores, b.scores),
        differing=list_differing(a.scores, b.scores),
        notes=tuple(notes),
    )


def _read_evaluation(folder: Path) -> Side:
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_bytes())
        values = summary["lesion_labels"]
        results = read_table(folder / TABLE)
        if not _belong_together(summary, results):
            raise UserError(f"{folder}: {SUMMARY} and {TABLE} are of two evaluations; evaluate these masks again")
        return Side(
            path=folder,
            predictions=str(summary["predictions"]),
            results={one.case: one for one in results},
            rules=RULES[RULES.index(summary["rules"])],
            tolerance_mm=float(summary["tolerance_mm"]),
            lesion_labels=() if values == ALL_VALUES else tuple(int(value) for value in values),
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected it beside {TABLE}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is not the summary of an evaluation; evaluate these masks again") from error


def _belong_together(summary: Any, results: Sequence[CaseResult]) -> bool:
    """Whether a summary is of these results: an evaluation that was killed, or a full disk, leaves an older table."""
    scores = [one.scores for one in results if one.scores is not None]
    for name in AVERAGED:
        column = [value for one in scores if math.isfinite(value := getattr(one, name))]
        expected = summary["metrics"][name]
        if expected["n"] != len(column):
            return False
        if column and not math.isclose(fmean(column), expected["mean"], rel_tol=SAME_MEAN, abs_tol=SAME_MEAN):
            return False
    return bool(summary["cases"]["all"] == len(results))


def _require_same_scoring(a: Side, b: Side) -> None:
    for option, ours, theirs in (
        ("--rules", a.rules, b.rules),
        ("--tolerance-mm", f"{a.tolerance_mm:g}", f"{b.tolerance_mm:g}"),
        ("--lesion-labels", _values(a), _values(b)),
    ):
        if ours != theirs:
            raise UserError(
                f"{a.path} was scored with {option} {ours}, and {b.path} with {theirs}; evaluate both with the same"
            )


def _values(side: Side) -> str:
    return " ".join(map(str, side.lesion_labels)) or ALL_VALUES


def _require_same_cases(a: Side, b: Side, *, skip_unpaired: bool) -> list[str]:
    """Refuse cases that have scores on one side only, or return notes about them."""
    alone = [(one, sorted(set(one.scores) - set(other.scores)), other) for one, other in ((a, b), (b, a))]
    both = set(a.scores) & set(b.scores)
    texts = [
        f"{_count(names)} scores only in {one.path}: {name_some(names)}{_reason(names, other)}"
        for one, names, other in alone
        if names
    ]
    if not both:
        raise UserError("; ".join(["no case has scores on both sides", *texts]))
    if texts and not skip_unpaired:
        raise UserError(
            f"{'; '.join(texts)}; expected the same cases on both sides; --skip-unpaired compares the other {len(both)}"
        )
    unscored = sorted((set(a.results) | set(b.results)) - set(a.scores) - set(b.scores))
    if unscored:
        texts.append(f"{_count(unscored)} no scores on either side: {name_some(unscored)}")
    return texts


def _count(names: Sequence[str]) -> str:
    return "1 case has" if len(names) == 1 else f"{len(names)} cases have"


def _reason(names: Sequence[str], other: Side) -> str:
    """Return why the first of the names has no scores on the other side, if it is known."""
    result = other.results.get(names[0])
    return f" ({result.problem})" if result is not None else ""


def _require_same_labels(a: Side, b: Side) -> None:
    for case, ours in a.scores.items():
        theirs = b.scores[case]
        same = math.isclose(ours.label_ml, theirs.label_ml, rel_tol=SAME_VOLUME, abs_tol=SAME_VOLUME)
        if not same or ours.label_lesions != theirs.label_lesions:
            raise UserError(
                f"{case}: the label has {ours.label_ml:g} ml in {ours.label_lesions} lesions in {a.path}, and "
                f"{theirs.label_ml:g} ml in {theirs.label_lesions} in {b.path}; score both against the same labels"
            )


def _only(side: Side, cases: set[str]) -> Side:
    return replace(side, results={case: side.results[case] for case in sorted(cases)})
