"""The log of a run: metrics.csv, TensorBoard, curves, and pictures of the validation set."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swfastedit_core.report.pictures.plots import new_figure, save_figure
from swfastedit_core.report.pictures.projection import LABEL_COLOUR, MASK_COLOUR, plot_mip
from swfastedit_core.system.atomic import replacing
from swfastedit_core.train.run.validation import Projection, Validated

METRICS = "metrics.csv"
COLUMNS = (
    "step", "epoch", "learning_rate", "loss", "seconds_per_step", "waiting", "skipped", "gpu_gb",
    "dice", "fpv_ml", "fnv_ml", "clicked_dice", "clicked_fpv_ml", "clicked_fnv_ml", "clicks", "validated_cases",
)  # fmt: skip
LOG_SCALE_ABOVE_ML = 100.0  # larger false volumes are plotted on a logarithmic axis
SCANS_PER_ROW = 6  # of a picture
MAX_SCANS = 12  # in a picture


class RunLog:
    """Writes metrics, curves and pictures into the folder of a run.

    Parameters
    ----------
    folder
        Folder of the run.
    step
        Step where the run continues. Rows of later steps are removed, because these steps will be repeated.
    includes_validation
        Whether the state of that step includes its validation. Otherwise the row of the validation is removed, because
        the validation will be repeated.
    """

    def __init__(self, folder: Path, *, step: int = 0, includes_validation: bool = True) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._rows = [
            row
            for row in read_metrics(folder)
            if int(row["step"]) < step
            or (int(row["step"]) == step and (includes_validation or not row["validated_cases"]))
        ]
        with replacing(folder / METRICS) as temporary:
            self._append(temporary, self._rows, header=True)
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add_row(self, step: int, values: dict[str, float]) -> None:
        """Add a row to metrics.csv and TensorBoard. `values` has names of `COLUMNS` as keys."""
        row = {"step": str(step), **{name: _text(value) for name, value in values.items()}}
        self._rows.append(row)
        self._append(self._folder / METRICS, [row])
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def plot_progress(self, step: int, validated: Sequence[Validated]) -> None:
        """Plot the training curves, and the scans of a validation; masks with clicks have a picture of their own."""
        self._plot_curves()
        self._plot_scans("validation", f"{step:08d}", step, [scan.plain for scan in validated])
        clicked = [scan.clicked for scan in validated if scan.clicked is not None]
        self._plot_scans("validation with clicks", f"{step:08d}-clicks", step, clicked)

    def _plot_scans(self, tag: str, name: str, step: int, projections: Sequence[Projection]) -> None:
        if not projections:
            return
        path = self._folder / "validation" / f"{name}.png"
        plot_projections(projections, path)
        import matplotlib.image

        self._writer.add_image(tag, matplotlib.image.imread(path), step, dataformats="HWC")

    def close(self) -> None:
        """Plot the curves a last time and close TensorBoard."""
        self._plot_curves()
        self._writer.close()

    def _plot_curves(self) -> None:
        plot_curves(self._rows, self._folder / "curves.png")

    def _append(self, path: Path, rows: Sequence[dict[str, str]], *, header: bool = False) -> None:
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if header:
                writer.writeheader()
            writer.writerows(rows)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv in the folder of a run; none if there is no such file."""
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]
    return [row for row in rows if None not in row.values()]  # a killed run may leave half a line


def plot_curves(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Plot loss, Dice and false volumes against the steps, all from 0; rows are those of metrics.csv."""
    last_step = max((int(row["step"]) for row in rows), default=1)
    validated = any(row.get("validated_cases") for row in rows)
    figure, panels = new_figure(1, 3 if validated else 1, size_inches=(11.0 if validated else 5.0, 3.2))
    _plot_column(panels[0], rows, "loss", "loss")
    panels[0].set_ylim(bottom=0)
    if validated:
        _, scores, volumes = panels
        with_clicks = any(row.get("clicked_dice") for row in rows)
        for column, name, style in _curves_of_validations(with_clicks=with_clicks):
            _plot_column(scores, rows, f"{column}dice", f"mean Dice{name}", style=style)
            _plot_column(volumes, rows, f"{column}fpv_ml", f"FPV, ml{name}", colour="#d62728", style=style)
            _plot_column(volumes, rows, f"{column}fnv_ml", f"FNV, ml{name}", colour="#1f77b4", style=style)
        scores.set_ylim(0, 1)
        if volumes.get_ylim()[1] > LOG_SCALE_ABOVE_ML:
            volumes.set_yscale("symlog", linthresh=1)
            volumes.yaxis.set_major_formatter("{x:g}")
        volumes.set_ylim(0, max(1.0, volumes.get_ylim()[1]))
    for axes in panels:
        _label_steps(axes, last_step)
    save_figure(figure, path, dpi=100)


def plot_projections(projections: Sequence[Projection], path: Path) -> None:
    """Plot scans from the front, SUV 0 to 7 in inverted grey, with label and mask outlined."""
    shown = projections[:MAX_SCANS]
    columns = min(SCANS_PER_ROW, len(shown))
    rows = -(-len(shown) // columns)
    figure, panels = new_figure(rows, columns, size_inches=(2.4 * columns, 4.0 * rows))
    for axes, scan in zip(panels, shown, strict=False):
        outlines = [(scan.label.pixels, LABEL_COLOUR), (scan.mask.pixels, MASK_COLOUR)]
        plot_mip(axes, scan.suv, outlines=outlines)
        score = scan.score
        axes.set_title(
            f"{score.case}\nDice {score.dice:.2f}, FPV {score.fpv_ml:.0f} ml, FNV {score.fnv_ml:.0f} ml\n"
            f"mask {scan.mask_ml:.0f} ml, label {scan.label_ml:.0f} ml",
            fontsize=6,
        )
    for axes in panels:
        axes.set_axis_off()
    left = len(projections) - len(shown)
    more = f", {left} more not shown" if left else ""
    figure.suptitle(f"blue: label, red: network{more}", fontsize=8)
    save_figure(figure, path, dpi=110)


def _curves_of_validations(*, with_clicks: bool) -> list[tuple[str, str, str]]:
    """Return the prefix of the columns, the name and the line style of each group of curves."""
    return [("", ", no clicks", "-"), ("clicked_", ", clicks", "--")] if with_clicks else [("", "", "-")]


def _label_steps(axes: Any, last_step: int) -> None:
    axes.set_xlim(0, max(1, last_step))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _plot_column(
    axes: Any, rows: Sequence[dict[str, str]], column: str, label: str, *, colour: str = "#333333", style: str = "-"
) -> None:
    points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column) not in (None, "", "nan")]
    if points:
        steps, values = zip(*points, strict=True)
        marker = "." if len(points) < 20 else ""
        # Without clipping, the frame hides no point at its border.
        how = {"linewidth": 1.2, "linestyle": style, "marker": marker}
        axes.plot(steps, values, color=colour, label=label, clip_on=False, zorder=3, **how)


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
