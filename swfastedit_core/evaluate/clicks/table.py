"""``clicks.csv``: a row for each step of each case."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.curve import CurveResult
from swfastedit_core.system.atomic import replacing

FILE = "clicks.csv"
METRICS = ("dice", "fpv_ml", "fnv_ml", "dmm", "true_positives", "false_positives", "false_negatives")
CLICKS = ("clicks", "tumour_clicks", "background_clicks", "drawn_by")
COLUMNS = ("case", "step", *CLICKS, *METRICS, "seconds", "problem", "remark")


def write_curves(results: Iterable[CurveResult], path: Path) -> None:
    """Write the table. What is not defined is an empty cell. A case without scores has one row with the reason.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            for result in results:
                writer.writerows(_rows(result))
    except OSError as error:
        raise UserError(f"{path}: the table cannot be written ({error.strerror})") from error


def _rows(result: CurveResult) -> Iterator[dict[str, Any]]:
    if result.scores is None:
        yield {"case": result.case, "problem": result.problem}
        return
    for number, step in enumerate(result.scores.steps):
        tumour, background = result.scores.clicks_until(number)
        values = {name: getattr(step.scores, name) for name in METRICS}
        yield {
            "case": result.case,
            "step": number,
            "clicks": tumour + background,
            "tumour_clicks": tumour,
            "background_clicks": background,
            **{name: "" if math.isnan(value) else value for name, value in values.items()},
            "seconds": "" if step.seconds is None else round(step.seconds, 3),
            "drawn_by": result.scores.drawn_by,
            "problem": step.failure,
            "remark": result.remark,
        }
