"""``compare.html``: one self-contained page with the differences, the cases that differ most, and plots."""

from __future__ import annotations

import base64
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.comparison.compare import Compared
from swfastedit_core.evaluate.comparison.paired import ABSOLUTE_VOLUME_ERROR, BETTER
from swfastedit_core.evaluate.definitions import CHALLENGES
from swfastedit_core.evaluate.page import COLUMNS, PACKAGE, Column
from swfastedit_core.report.page.templates import render
from swfastedit_core.system.atomic import replacing

TEMPLATE = "compare.html.jinja"
COMPARED = (
    *(one for one in COLUMNS if one.name in BETTER),
    Column(ABSOLUTE_VOLUME_ERROR, "Size of the volume error", "ml", 2),
)
OF_A_CASE = ("dice", "surface_dice", "f1", "fpv_ml", "fnv_ml", "hd95_mm", "prediction_ml")  # in the table of all cases


def write_comparison_page(compared: Compared, values: dict[str, Any], picture: Path, path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    compared
        The comparison.
    values
        Content of ``compare.json``.
    picture
        ``compare.png``, which becomes part of the page.
    path
        The file.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    page = render(
        PACKAGE,
        TEMPLATE,
        compared=values,
        challenge=CHALLENGES[compared.a.rules],
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        columns=COMPARED,
        case_columns=[one for name in OF_A_CASE for one in COLUMNS if one.name == name],
        rows=_rows(compared),
        picture=base64.b64encode(picture.read_bytes()).decode(),
    )
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path}: the page cannot be written ({error.strerror})") from error


def _rows(compared: Compared) -> list[dict[str, Any]]:
    a, b = compared.a.scores, compared.b.scores
    return [
        {
            "case": case,
            "label_ml": a[case].label_ml,
            "pairs": {name: _pair(getattr(a[case], name), getattr(b[case], name)) for name in OF_A_CASE},
        }
        for case in sorted(a)
    ]


def _pair(a: float, b: float) -> tuple[float | None, float | None, float | None]:
    """Return A, B and B − A; None where they are not defined."""
    one, other, difference = (None if math.isnan(value) else value for value in (a, b, b - a))
    return one, other, difference
