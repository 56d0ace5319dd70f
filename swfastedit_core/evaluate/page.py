"""``metrics.html``: one self-contained page with summary, plots, a table of the cases, and definitions."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import CaseResult
from swfastedit_core.report.page.templates import render
from swfastedit_core.system.atomic import replacing

PACKAGE, TEMPLATE = "swfastedit_core.evaluate", "metrics.html.jinja"


@dataclass(frozen=True)
class Column:
    """A metric on the page: its name in `Scores`, its title and unit, and the decimals that are shown."""

    name: str
    title: str
    unit: str = ""
    digits: int = 0


COLUMNS = (
    Column("dice", "Dice", digits=3),
    Column("fpv_ml", "FPV", "ml", 2),
    Column("fnv_ml", "FNV", "ml", 2),
    Column("precision", "Lesion precision", digits=3),
    Column("recall", "Lesion recall", digits=3),
    Column("f1", "Lesion F1", digits=3),
    Column("surface_dice", "Surface Dice", digits=3),
    Column("hd95_mm", "HD95", "mm", 1),
    Column("label_ml", "Label", "ml", 2),
    Column("prediction_ml", "Prediction", "ml", 2),
    Column("volume_error_ml", "Volume error", "ml", 2),
    Column("label_lesions", "Label lesions"),
    Column("predicted_lesions", "Predicted lesions"),
    Column("true_positives", "TP"),
    Column("false_positives", "FP"),
    Column("false_negatives", "FN"),
)


def write_page(results: Sequence[CaseResult], summary: dict[str, Any], picture: Path, path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    results
        The cases.
    summary
        Content of ``metrics.json``.
    picture
        ``metrics.png``, which becomes part of the page.
    path
        The file.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    rows = [_row(result) for result in results]
    page = render(
        PACKAGE,
        TEMPLATE,
        summary=summary,
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        columns=COLUMNS,
        rows=rows,
        has_texts=any(row["text"] for row in rows),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        lesion_values=_lesion_values,
    )
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path}: the page cannot be written ({error.strerror})") from error


def _row(result: CaseResult) -> dict[str, Any]:
    values = {column.name: _defined(result, column.name) for column in COLUMNS}
    return {"case": result.case, "values": values, "text": result.problem or result.remark}


def _defined(result: CaseResult, name: str) -> float | None:
    value = math.nan if result.scores is None else getattr(result.scores, name)
    return None if math.isnan(value) else value


def _lesion_values(values: str | list[int]) -> str:
    return values if isinstance(values, str) else ", ".join(map(str, values))
