"""``clicks.html``: one self-contained page with figures by step, areas, plots, and a table of the cases."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.curve import METRICS, Curve, CurveResult, area, first_step_with
from swfastedit_core.evaluate.clicks.summary import TARGETS
from swfastedit_core.evaluate.page import PACKAGE, Column
from swfastedit_core.report.page.templates import render
from swfastedit_core.system.atomic import replacing

TEMPLATE = "clicks.html.jinja"
COLUMNS = (
    Column("dice", "Dice", digits=3),
    Column("fpv_ml", "FPV", "ml", 2),
    Column("fnv_ml", "FNV", "ml", 2),
    Column("dmm", "DMM", digits=3),
)
NOTHING: dict[str, Any] = {  # of a case without scores
    **{name: dict.fromkeys(METRICS) for name in ("first", "last", "areas")},
    "noc": dict.fromkeys(TARGETS),
    "clicks": None,
    "seconds": None,
}


def write_click_page(results: Sequence[CurveResult], values: dict[str, Any], picture: Path, path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    results
        The cases.
    values
        Content of ``clicks.json``.
    picture
        ``clicks.png``, which becomes part of the page.
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
        summary=values,
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        columns=COLUMNS,
        targets=TARGETS,
        rows=rows,
        has_texts=any(row["text"] for row in rows),
        picture=base64.b64encode(picture.read_bytes()).decode(),
    )
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path}: the page cannot be written ({error.strerror})") from error


def _row(result: CurveResult) -> dict[str, Any]:
    return {
        "case": result.case,
        "text": result.problem or result.remark,
        **(NOTHING if result.scores is None else _figures(result.scores)),
    }


def _figures(curve: Curve) -> dict[str, Any]:
    by_step = {name: curve.values(name) for name in METRICS}
    tumour, background = curve.clicks_until(len(curve.steps) - 1)
    seconds = curve.seconds_of_clicks
    return {
        "first": {name: _defined(one[0]) for name, one in by_step.items()},
        "last": {name: _defined(one[-1]) for name, one in by_step.items()},
        "areas": {name: _defined(area(one)) for name, one in by_step.items()},
        "noc": {target: first_step_with(by_step["dice"], target) for target in TARGETS},
        "clicks": tumour + background,
        "seconds": float(np.mean(seconds)) if seconds else None,
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
