"""``metrics.csv``: a row for each case."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import CaseResult
from swfastedit_core.metrics.scores import Scores
from swfastedit_core.system.atomic import replacing

FILE = "metrics.csv"
METRICS = tuple(field.name for field in fields(Scores))  # columns with numbers, in this order
COUNTS = tuple(field.name for field in fields(Scores) if field.type == "int")
ENCODING: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # names of files can be no text
COLUMNS = ("case", *METRICS, "seconds", "problem", "remark")


def write_table(results: Iterable[CaseResult], path: Path) -> None:
    """Write the table. A score that is not defined is an empty cell, which spreadsheets, pandas and R read as missing.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    try:
        with replacing(path) as temporary, temporary.open("w", newline="", **ENCODING) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(map(_row, results))
    except OSError as error:
        raise UserError(f"{path}: the table cannot be written ({error.strerror})") from error


def read_table(path: Path) -> list[CaseResult]:
    """Read a table that `write_table` wrote.

    Raises
    ------
    UserError
        If the file cannot be read or is another table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
            return [_result(row) for row in reader]
    except OSError as error:
        raise UserError(f"{path}: the table cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: is not a table of this program, expected the columns {', '.join(COLUMNS)}") from error


def _row(result: CaseResult) -> list[float | int | str]:
    seconds = "" if result.seconds is None else round(result.seconds, 2)
    return [result.case, *_cells(result), seconds, result.problem, result.remark]


def _cells(result: CaseResult) -> list[float | int | str]:
    if result.scores is None:
        return [""] * len(METRICS)
    values = [getattr(result.scores, name) for name in METRICS]
    return ["" if math.isnan(value) else value for value in values]


def scores_of(values: Mapping[str, float | str | None]) -> Scores:
    """Return scores from the cells of a row, or from JSON's numbers; an empty one is not defined.

    Raises
    ------
    KeyError, ValueError
        If a score is missing or is no number.
    """
    numbers = {name: math.nan if (value := values[name]) in ("", None) else float(value) for name in METRICS}
    return Scores(**{name: int(value) if name in COUNTS else value for name, value in numbers.items()})  # type: ignore[arg-type] # the counts are integers


def _result(row: dict[str, str]) -> CaseResult:
    return CaseResult(
        case=row["case"],
        scores=None if row["problem"] else scores_of(row),
        problem=row["problem"],
        remark=row["remark"],
        seconds=float(row["seconds"]) if row["seconds"] else None,
    )
