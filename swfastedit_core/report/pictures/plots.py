"""matplotlib figures without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing


def new_figure(
    rows: int, columns: int, *, size_inches: tuple[float, float], width_ratios: Sequence[float] | None = None
) -> tuple[Any, list[Any]]:
    """Return a figure with its axes, row by row.

    Parameters
    ----------
    rows, columns
        Number of axes.
    size_inches
        Width and height of the figure.
    width_ratios
        Relative widths of the columns; None: all the same.

    Raises
    ------
    UserError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the picture needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=size_inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, width_ratios=width_ratios).ravel())


def save_figure(figure: Any, path: Path, *, dpi: int) -> None:
    """Write a figure as PNG; the file is complete or unchanged.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", pil_kwargs={"optimize": True})
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the picture cannot be written ({error})") from error
