"""The files of an evaluation with clicks, and a short table on standard output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from swfastedit_core import __version__
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.curve import CurveResult
from swfastedit_core.evaluate.clicks.page import write_click_page
from swfastedit_core.evaluate.clicks.plots import write_click_plots
from swfastedit_core.evaluate.clicks.summary import ClickSummary, StepSummary, summarise_curves
from swfastedit_core.evaluate.clicks.table import FILE as TABLE
from swfastedit_core.evaluate.clicks.table import write_curves
from swfastedit_core.evaluate.clicks.words import ABOUT, AXES, CHALLENGE_FIGURES, definitions
from swfastedit_core.evaluate.cohort import Scoring
from swfastedit_core.evaluate.definitions import CHALLENGES
from swfastedit_core.evaluate.results import PROGRAM, write_summary
from swfastedit_core.evaluate.summary import CONFIDENCE, RESAMPLES, SEED, Statistics

SUMMARY, PICTURE, PAGE = "clicks.json", "clicks.png", "clicks.html"
FILES = (SUMMARY, TABLE, PICTURE, PAGE)


@dataclass(frozen=True, kw_only=True)
class ClickEvaluation:
    """The curves of a cohort, and how they were made.

    Attributes
    ----------
    labels, predictions
        Where labels and masks came from, in words.
    scoring
        How masks were scored.
    protocol
        `ClickProtocol.settings`.
    segmentation
        How the masks were made, as values for JSON.
    results
        By case.
    notes
        What holds for the whole cohort.
    """

    labels: str
    predictions: str
    scoring: Scoring
    protocol: dict[str, Any]
    segmentation: dict[str, Any]
    results: tuple[CurveResult, ...]
    notes: tuple[str, ...] = ()


def write_click_evaluation(
    evaluation: ClickEvaluation, folder: Path, *, say: Callable[[str], None], stderr: TextIO
) -> None:
    """Write all files, print a short table and where the files are; then fail if a case has no scores.

    Raises
    ------
    UserError
        If a file cannot be written, or a case has no scores; each such case has a line on `stderr` before.
    """
    curves = [result.scores for result in evaluation.results if result.scores is not None]
    if curves:
        summary = summarise_curves(evaluation.results)
        values = click_values(evaluation, summary)
        write_summary(values, folder / SUMMARY)
        write_curves(evaluation.results, folder / TABLE)
        write_click_plots(curves, summary, folder / PICTURE, step_is=AXES[evaluation.protocol["protocol"]])
        write_click_page(evaluation.results, values, folder / PICTURE, folder / PAGE)
        for line in short_table(summary, evaluation.protocol["protocol"]):
            say(line)
        for name in FILES:
            say(f"{folder / name}")
    failed = [result for result in evaluation.results if result.problem]
    for result in failed:
        with suppress(OSError):
            print(" ".join(f"{result.case}: {result.problem}".split()), file=stderr)
    if failed:
        rest = "the files hold the others" if curves else "no file was written, see the reasons above"
        raise UserError(f"no scores for {len(failed)} of {len(evaluation.results)} cases; {rest}")


def click_values(evaluation: ClickEvaluation, summary: ClickSummary) -> dict[str, Any]:
    """Return the content of ``clicks.json`` as plain values."""
    protocol = evaluation.protocol["protocol"]
    return {
        "program": f"{PROGRAM} {__version__}",
        "labels": evaluation.labels,
        "predictions": evaluation.predictions,
        "segmentation": evaluation.segmentation,
        "clicks": evaluation.protocol,
        "about": ABOUT[protocol],
        "rules": evaluation.scoring.rules,
        "rules_name": CHALLENGES[evaluation.scoring.rules],
        "cases": {
            "all": summary.cases,
            "failed": summary.failed,
            "empty_labels": summary.empty_labels,
        },
        "failed_steps": summary.failed_steps,
        "challenge": challenge_figures(summary, protocol),
        "steps": [_step_values(step) for step in summary.steps],
        "areas": {
            **{name: asdict(one) for name, one in summary.areas.items()},
            "pooled_dmm": summary.pooled_dmm_area,
            "largest": len(summary.steps) - 1,
        },
        "noc": {f"{one.target:g}": {**asdict(one.steps), "failures": one.failures} for one in summary.noc},
        "seconds_per_click": asdict(summary.seconds_per_click),
        "interval": {
            "method": "BCa bootstrap over cases (scipy.stats.bootstrap)",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "definitions": definitions(protocol, evaluation.scoring),
        "notes": list(evaluation.notes),
        "problems": {one.case: one.problem for one in evaluation.results if one.problem},
        "remarks": {one.case: one.remark for one in evaluation.results if one.remark},
    }


def challenge_figures(summary: ClickSummary, protocol: str) -> dict[str, float | None]:
    """Return the figures by which a challenge ranks, by their names there; none for clicks of no challenge."""
    last = summary.steps[-1]
    figures = {
        **{f"area {name}": one.mean for name, one in summary.areas.items()},
        **{f"last {name}": one.mean for name, one in last.metrics.items()},
    }
    return {title: figures[name] for title, name in CHALLENGE_FIGURES[protocol].items()}


def _step_values(step: StepSummary) -> dict[str, Any]:
    return {
        "step": step.step,
        "tumour_clicks": step.tumour_clicks,
        "background_clicks": step.background_clicks,
        **{name: asdict(one) for name, one in step.metrics.items()},
        "lesions": asdict(step.lesions),
        "seconds": asdict(step.seconds),
    }


def short_table(summary: ClickSummary, protocol: str) -> list[str]:
    """Return the most important figures as lines of text."""
    last = len(summary.steps) - 1
    shown = sorted({0, 1, 2, 3, 5, 10, 15, last} & set(range(last + 1)))
    rows = [
        f"{step.step:>4} {_number(step.metrics['dice'], 3):>8} {_number(step.metrics['fpv_ml'], 2):>9} "
        f"{_number(step.metrics['fnv_ml'], 2):>9} {_text(step.lesions.f1.value, 3):>8} "
        f"{step.tumour_clicks + step.background_clicks:>7.1f} {_text(step.seconds.median, 2):>8}"
        for step in (summary.steps[number] for number in shown)
    ]
    scored = summary.cases - summary.failed
    noc = (
        f"NoC@{100 * one.target:.0f} {_number(one.steps, 2)} (mean; {one.failures} of {one.steps.n} never reach it)"
        for one in summary.noc
    )
    figures = challenge_figures(summary, protocol)
    return [
        f"{'step':>4} {'Dice':>8} {'FPV, ml':>9} {'FNV, ml':>9} {'DMM':>8} {'clicks':>7} {'s':>8}",
        *rows,
        *([", ".join(f"{title} {_text(value, 3)}" for title, value in figures.items())] if figures else []),
        *noc,
        f"{scored} of {summary.cases} cases scored; empty labels: {summary.empty_labels}",
    ]


def _number(one: Statistics, digits: int) -> str:
    return _text(one.mean, digits)


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
