"""The files of a comparison, and a short table on standard output."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swfastedit_core import __version__
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import Scoring
from swfastedit_core.evaluate.comparison.compare import ALL_VALUES, Compared
from swfastedit_core.evaluate.comparison.page import write_comparison_page
from swfastedit_core.evaluate.comparison.paired import ABSOLUTE_VOLUME_ERROR, BETTER, value_of
from swfastedit_core.evaluate.comparison.plots import write_comparison_plots
from swfastedit_core.evaluate.definitions import definitions
from swfastedit_core.evaluate.results import PROGRAM, write_summary
from swfastedit_core.evaluate.summary import CONFIDENCE, RESAMPLES, SEED, Interval
from swfastedit_core.metrics.scores import Scores
from swfastedit_core.system.atomic import replacing

SUMMARY, TABLE, PICTURE, PAGE = "compare.json", "compare.csv", "compare.png", "compare.html"
FILES = (SUMMARY, TABLE, PICTURE, PAGE)
TITLES = {
    "dice": "Dice",
    "fpv_ml": "FPV, ml",
    "fnv_ml": "FNV, ml",
    "precision": "lesion precision",
    "recall": "lesion recall",
    "f1": "lesion F1",
    "surface_dice": "surface Dice",
    "hd95_mm": "HD95, mm",
    ABSOLUTE_VOLUME_ERROR: "|volume error|, ml",
}
COUNTS = ("predicted_lesions", "true_positives", "false_positives", "false_negatives")
SEVERAL_TESTS = (
    "These metrics are tested together, and they depend on each other. p (Holm) is adjusted for their number. A small "
    "p value says that the masks differ, not that the difference matters: look at the difference and its interval. "
    "Choose the metric that decides before you look at the results."
)


def write_comparison(compared: Compared, folder: Path, *, say: Callable[[str], None]) -> None:
    """Write all files, print a short table and where the files are. Each file is complete or unchanged.

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    values = comparison_values(compared)
    write_summary(values, folder / SUMMARY)
    _write_table(compared, folder / TABLE)
    write_comparison_plots(compared, folder / PICTURE)
    write_comparison_page(compared, values, folder / PICTURE, folder / PAGE)
    for line in (*(f"warning: {note}" for note in compared.notes), *_short_table(compared)):
        say(line)
    for name in FILES:
        say(f"{folder / name}")


def comparison_values(compared: Compared) -> dict[str, Any]:
    """Return the content of ``compare.json`` as plain values."""
    a = compared.a
    scoring = Scoring(rules=a.rules, tolerance_mm=a.tolerance_mm, lesion_labels=a.lesion_labels)
    described = definitions(scoring)
    return {
        "program": f"{PROGRAM} {__version__}",
        **{
            name: {"folder": str(side.path), "predictions": side.predictions}
            for name, side in (("a", compared.a), ("b", compared.b))
        },
        "rules": a.rules,
        "tolerance_mm": a.tolerance_mm,
        "lesion_labels": list(a.lesion_labels) or ALL_VALUES,
        "cases": len(a.results),
        "metrics": {one.metric: asdict(one) for one in compared.metrics},
        "pooled_f1": asdict(compared.f1),
        "differ_most": [{**asdict(one), "difference": one.difference} for one in compared.differing],
        "difference": "B minus A",
        "interval": {
            "method": "BCa bootstrap over cases of the paired differences (scipy.stats.bootstrap)",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "test": "Wilcoxon signed-rank test, two-sided; differences of 0 are discarded (scipy.stats.wilcoxon)",
        "several_tests": SEVERAL_TESTS,
        "definitions": {
            name: "Size of the volume error, in ml." if name == ABSOLUTE_VOLUME_ERROR else described[name]
            for name in BETTER
        },
        "notes": list(compared.notes),
    }


def _write_table(compared: Compared, path: Path) -> None:
    """Write ``compare.csv``: a row for each case, metrics of A, of B, and B − A; not defined ones are empty."""
    a, b = compared.a.scores, compared.b.scores
    rows = [_row(case, a[case], b[case]) for case in sorted(a)]
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise UserError(f"{path}: the table cannot be written ({error.strerror})") from error


def _row(case: str, a: Scores, b: Scores) -> dict[str, float | int | str]:
    row: dict[str, float | int | str] = {"case": case, "label_ml": a.label_ml, "label_lesions": a.label_lesions}
    for name in (*BETTER, "prediction_ml"):
        ours, theirs = value_of(a, name), value_of(b, name)
        row[f"{name}_a"], row[f"{name}_b"], row[f"{name}_difference"] = map(_cell, (ours, theirs, theirs - ours))
    for name in COUNTS:
        row[f"{name}_a"], row[f"{name}_b"] = getattr(a, name), getattr(b, name)
    return row


def _cell(value: float) -> float | str:
    return "" if math.isnan(value) else value


def _short_table(compared: Compared) -> list[str]:
    """Return the differences as lines of text."""
    rows = [
        (
            TITLES[one.metric],
            one.mean_a,
            one.mean_b,
            one.mean_difference.value,
            one.mean_difference.interval,
            "–" if one.p_holm is None else f"{one.p_holm:.3g}",
            one.pairs,
        )
        for one in compared.metrics
    ]
    f1, cases = compared.f1, len(compared.a.results)
    rows.append(("lesion F1, pooled", f1.f1_a, f1.f1_b, f1.difference.value, f1.difference.interval, "", cases))
    return [
        f"A: {compared.a.path}",
        f"B: {compared.b.path}",
        f"{'':<20} {'mean A':>9} {'mean B':>9} {'B − A':>9}  {'95 % interval':<20} {'p (Holm)':>9} cases",
        *(
            f"{name:<20} {_number(a):>9} {_number(b):>9} {_number(gain):>9}  {_interval(pair):<20} {p:>9} {count}"
            for name, a, b, gain, pair, p, count in rows
        ),
        f"{cases} cases compared; {PAGE} lists the cases whose Dice differs most: {len(compared.differing)}"
        if compared.differing
        else f"{cases} cases compared; no Dice differs",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def _interval(pair: Interval | None) -> str:
    return "–" if pair is None else f"{_number(pair[0])} to {_number(pair[1])}"
