"""The results of an evaluation: files, and a short table on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from swfastedit_core import __version__
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import CaseResult, Scoring
from swfastedit_core.evaluate.definitions import CHALLENGES, definitions
from swfastedit_core.evaluate.page import write_page
from swfastedit_core.evaluate.plots import write_plots
from swfastedit_core.evaluate.summary import CONFIDENCE, RESAMPLES, SEED, Statistics, Summary, summarise
from swfastedit_core.evaluate.table import FILE as TABLE
from swfastedit_core.evaluate.table import write_table
from swfastedit_core.metrics.scores import Scores
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.command import require_writable

SUMMARY, PICTURE, PAGE = "metrics.json", "metrics.png", "metrics.html"
FILES = (SUMMARY, TABLE, PICTURE, PAGE)
PROGRAM = "swfastedit"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a cohort, and how they were made.

    Attributes
    ----------
    labels, predictions
        Where labels and predictions came from, in words.
    scoring
        How they were read and scored.
    results
        By case.
    notes
        What holds for the whole cohort, such as cases that were left out.
    segmentation
        How the masks were made, as values for JSON; None if they are files.
    """

    labels: str
    predictions: str
    scoring: Scoring
    results: tuple[CaseResult, ...]
    notes: tuple[str, ...] = ()
    segmentation: dict[str, Any] | None = None


def require_output(folder: Path, files: Sequence[str] = FILES) -> None:
    """Check before the work that the results can be written, and that no other program's files are in the way.

    Parameters
    ----------
    folder
        Folder of the results.
    files
        Their names; the first one is JSON that names the program.

    Raises
    ------
    UserError
        If a file cannot be written, or exists and is not from an earlier evaluation.
    """
    for name in files:
        require_writable(folder / name)
    existing = [name for name in files if (folder / name).exists()]
    if existing and not _is_own(folder / files[0]):
        raise UserError(
            f"{folder}: has {', '.join(existing)}, and not by this program; give another --output or remove what is "
            "there"
        )


def _is_own(path: Path) -> bool:
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and str(written.get("program", "")).startswith(PROGRAM)


def write_evaluation(evaluation: Evaluation, folder: Path, *, say: Callable[[str], None], stderr: TextIO) -> None:
    """Write all files, print a short table and where the files are; then fail if a case has no scores.

    Each file is complete or unchanged. If no case has scores, nothing is written: earlier results stay.

    Raises
    ------
    UserError
        If a file cannot be written, or a case has no scores; each such case has a line on `stderr` before.
    """
    scores = [result.scores for result in evaluation.results if result.scores is not None]
    if scores:
        _write_files(evaluation, scores, folder, say)
    failed = [result for result in evaluation.results if result.problem]
    for result in failed:
        with suppress(OSError):
            print(" ".join(f"{result.case}: {result.problem}".split()), file=stderr)
    if failed:
        rest = "the files hold the others" if scores else "no file was written, see the reasons above"
        raise UserError(f"no scores for {len(failed)} of {len(evaluation.results)} cases; {rest}")


def _write_files(evaluation: Evaluation, scores: list[Scores], folder: Path, say: Callable[[str], None]) -> None:
    summary = summarise(evaluation.results)
    values = summary_values(evaluation, summary)
    write_summary(values, folder / SUMMARY)
    write_table(evaluation.results, folder / TABLE)
    write_plots(scores, folder / PICTURE, tolerance_mm=evaluation.scoring.tolerance_mm)
    write_page(evaluation.results, values, folder / PICTURE, folder / PAGE)
    for line in short_table(summary, evaluation.scoring):
        say(line)
    for name in FILES:
        say(f"{folder / name}")


def write_summary(values: dict[str, Any], path: Path) -> None:
    """Write ``metrics.json``: strict JSON, null where a number is not defined."""
    try:
        with replacing(path) as temporary:
            text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path}: the summary cannot be written ({error.strerror})") from error


def summary_values(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """Return the content of ``metrics.json`` as plain values."""
    scoring, lesions = evaluation.scoring, summary.lesions
    return {
        "program": f"{PROGRAM} {__version__}",
        "labels": evaluation.labels,
        "predictions": evaluation.predictions,
        **({"segmentation": evaluation.segmentation} if evaluation.segmentation else {}),
        "rules": scoring.rules,
        "tolerance_mm": scoring.tolerance_mm,
        "lesion_labels": list(scoring.lesion_labels) or "all above 0",
        "prediction_labels": list(scoring.prediction_labels) or "all above 0",
        "resample": scoring.resample,
        "cases": {
            "all": summary.cases,
            "failed": summary.failed,
            "empty_labels": summary.empty_labels,
            "empty_predictions": summary.empty_predictions,
            "both_empty": summary.both_empty,
        },
        "challenge": {
            "name": CHALLENGES[scoring.rules],
            **{name: summary.metrics[name].mean for name in ("dice", "fpv_ml", "fnv_ml")},
            **({"f1": lesions.f1.value} if scoring.rules == "autopet5" else {}),
        },
        "metrics": {name: asdict(one) for name, one in summary.metrics.items()},
        "lesions": asdict(lesions),
        "interval": {
            "method": "BCa bootstrap over cases (scipy.stats.bootstrap)",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "definitions": definitions(scoring),
        "notes": list(evaluation.notes),
        "problems": {one.case: one.problem for one in evaluation.results if one.problem},
        "remarks": {one.case: one.remark for one in evaluation.results if one.remark},
    }


def short_table(summary: Summary, scoring: Scoring) -> list[str]:
    """Return the most important figures as lines of text."""
    rows = [
        ("Dice", _mean(summary.metrics["dice"], "{:.3f}")),
        ("FPV, ml", _mean(summary.metrics["fpv_ml"], "{:.2f}")),
        ("FNV, ml", _mean(summary.metrics["fnv_ml"], "{:.2f}")),
        ("lesion F1, pooled", _rate(summary)),
        (f"surface Dice, {scoring.tolerance_mm:g} mm", _mean(summary.metrics["surface_dice"], "{:.3f}")),
        ("HD95, mm", _mean(summary.metrics["hd95_mm"], "{:.1f}")),
    ]
    empty = f"empty labels: {summary.empty_labels}, empty predictions: {summary.empty_predictions}"
    return [
        f"{'':<22} {'mean':>9}  {'95 % interval':<20} cases",
        *(f"{name:<22} {cells}" for name, cells in rows),
        f"{summary.cases - summary.failed} of {summary.cases} cases scored; {empty}",
    ]


def _mean(one: Statistics, form: str) -> str:
    mean = "not defined" if one.mean is None else form.format(one.mean)
    return f"{mean:>9}  {_interval(one.interval, form):<20} {one.n}"


def _rate(summary: Summary) -> str:
    rate = summary.lesions.f1
    value = "not defined" if rate.value is None else f"{rate.value:.3f}"
    return f"{value:>9}  {_interval(rate.interval, '{:.3f}'):<20} {summary.cases - summary.failed}"


def _interval(interval: tuple[float, float] | None, form: str) -> str:
    return "–" if interval is None else f"{form.format(interval[0])} to {form.format(interval[1])}"
