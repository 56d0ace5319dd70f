"""``compare.png``: each case of A against the same case of B, and the differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.evaluate.comparison.compare import Compared
from swfastedit_core.evaluate.comparison.paired import BETTER, HIGHER, column
from swfastedit_core.evaluate.plots import (
    BLUE,
    DPI,
    GREY,
    LINEAR_ML,
    ORANGE,
    points,
    say_nothing_to_plot,
    scale_volumes,
)
from swfastedit_core.report.pictures.plots import new_figure, save_figure

SIZE_INCHES = (15.0, 7.4)
SHARES = {"dice": "Dice", "surface_dice": "surface Dice", "f1": "lesion F1"}
AMOUNTS = {"fpv_ml": "FPV, ml", "fnv_ml": "FNV, ml", "hd95_mm": "HD95, mm"}


def write_comparison_plots(compared: Compared, path: Path) -> None:
    """Plot a comparison as PNG.

    Raises
    ------
    UserError
        If matplotlib is missing or the file cannot be written.
    """
    figure, axes = new_figure(2, 4, size_inches=SIZE_INCHES)
    for place, (name, title) in zip((0, 1, 2, 4, 5, 6), (SHARES | AMOUNTS).items(), strict=True):
        _plot_pairs(axes[place], compared, name, title)
    _plot_sorted_differences(axes[3], compared)
    _plot_differences_by_volume(axes[7], compared)
    save_figure(figure, path, dpi=DPI)


def _plot_pairs(axes: Any, compared: Compared, name: str, title: str) -> None:
    """Plot A against B; the colour says which one is better."""
    a, b = (column(side.scores, name) for side in (compared.a, compared.b))
    defined = np.isfinite(a) & np.isfinite(b)
    a, b = a[defined], b[defined]
    axes.set(title=f"{title} (n = {len(a)})", xlabel="A", ylabel="B")
    if not len(a):
        say_nothing_to_plot(axes)
        return
    top = 1.03 if name in SHARES else 1.3 * max(float(np.max([a, b])), LINEAR_ML)
    axes.plot([0, top], [0, top], color=GREY, linewidth=0.8, linestyle="--")
    gain = b - a if BETTER[name] == HIGHER else a - b
    for kept, colour, words in (
        (gain > 0, BLUE, "B better"),
        (gain < 0, ORANGE, "A better"),
        (gain == 0, GREY, "equal"),
    ):
        label = f"{words}: {np.count_nonzero(kept)}"
        axes.plot(a[kept], b[kept], **{**points(len(a)), "color": colour}, label=label)
    if name in SHARES:
        axes.set(xlim=(-0.03, top), ylim=(-0.03, top))
    else:
        for axis in "xy":
            scale_volumes(axes, np.concatenate([a, b]), axis, top=top)
    axes.set_aspect("equal", adjustable="box")
    axes.legend(loc="best", frameon=False, fontsize="small", handletextpad=0.1)


def _dice_differences(compared: Compared) -> tuple[np.ndarray, np.ndarray]:
    """Return B − A of the Dice, and the volume of the labels, where both are defined."""
    a, b = (column(side.scores, "dice") for side in (compared.a, compared.b))
    defined = np.isfinite(a) & np.isfinite(b)
    return (b - a)[defined], column(compared.a.scores, "label_ml")[defined]


def _plot_sorted_differences(axes: Any, compared: Compared) -> None:
    """Plot the differences of the Dice in ascending order, with their mean and its interval."""
    differences, _ = _dice_differences(compared)
    axes.set(title="Dice, B − A, sorted", xlabel="cases", ylabel="difference")
    if not len(differences):
        say_nothing_to_plot(axes)
        return
    ordered = np.sort(differences)
    colours = np.where(ordered > 0, BLUE, ORANGE)
    axes.bar(np.arange(1, len(ordered) + 1), ordered, color=colours, width=0.9)
    mean = next(one.mean_difference for one in compared.metrics if one.metric == "dice")
    assert mean.value is not None
    axes.axhline(mean.value, color="black", linewidth=1.2, label=f"mean {mean.value:+.3f}".replace("-", "−"))
    if mean.interval is not None:
        low, high = mean.interval
        label = f"95 %: {low:+.3f} to {high:+.3f}".replace("-", "−")
        axes.axhspan(low, high, color="black", alpha=0.15, linewidth=0, label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.legend(loc="upper left", frameon=False, fontsize="small")


def _plot_differences_by_volume(axes: Any, compared: Compared) -> None:
    differences, label_ml = _dice_differences(compared)
    axes.set(title="Dice, B − A, by volume", xlabel="label, ml", ylabel="difference")
    if not len(differences):
        say_nothing_to_plot(axes)
        return
    axes.axhline(0, color=GREY, linewidth=0.8)
    for kept, colour in ((differences > 0, BLUE), (differences < 0, ORANGE), (differences == 0, GREY)):
        axes.plot(label_ml[kept], differences[kept], **{**points(len(differences)), "color": colour})
    scale_volumes(axes, label_ml, "x")
