"""``metrics.png``: distributions of the metrics, predicted against true volume, Bland-Altman plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.metrics.scores import Scores
from swfastedit_core.report.pictures.plots import new_figure, save_figure

BLUE, ORANGE, GREY = "#1f77b4", "#d95f02", "#555555"
DPI = 110
SIZE_INCHES = (12.0, 7.6)
SCATTERED = 60  # points of more cases are smaller and paler
LINEAR_ML = 1.0  # volumes below it are on a linear scale, those above on a logarithmic one; 0 has a place
LOGARITHMIC_FROM = 50.0  # highest value from which on a scale is logarithmic
LEAST_OF_A_BOX = 5  # cases; fewer are points with their median
LIMITS_OF_AGREEMENT = 1.96  # standard deviations, Bland and Altman 1986


def write_plots(scores: Sequence[Scores], path: Path, *, tolerance_mm: float) -> None:
    """Plot the scores of a cohort as PNG.

    Parameters
    ----------
    scores
        Of the cases; metrics that are not defined are left out. Without any score the plots say so.
    path
        The file.
    tolerance_mm
        Of the surface Dice, for its name.

    Raises
    ------
    UserError
        If matplotlib is missing or the file cannot be written.
    """
    figure, (shares, volumes, distances, against, differences, sizes) = new_figure(2, 3, size_inches=SIZE_INCHES)
    names = {"dice": "Dice", "surface_dice": f"surface Dice\n{tolerance_mm:g} mm", "f1": "lesion F1"}
    _plot_distributions(shares, scores, names, title="Overlap and detection", unit="", limits=(-0.03, 1.03))
    _plot_distributions(volumes, scores, {"fpv_ml": "FPV", "fnv_ml": "FNV"}, title="Missed and added volume", unit="ml")
    _plot_distributions(distances, scores, {"hd95_mm": "HD95"}, title="Distance of the surfaces", unit="mm")
    _plot_volumes(against, scores)
    _plot_bland_altman(differences, scores)
    _plot_dice_by_volume(sizes, scores)
    save_figure(figure, path, dpi=DPI)


def _plot_distributions(
    axes: Any,
    scores: Sequence[Scores],
    names: dict[str, str],
    *,
    title: str,
    unit: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """Plot all points and a box for each metric; the number of cases that define it is below its name."""
    columns = [_defined(scores, name) for name in names]
    axes.set_title(title)
    axes.set_xticks(
        range(len(names)), [f"{text}\nn = {len(one)}" for text, one in zip(names.values(), columns, strict=True)]
    )
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel(unit)
    random = np.random.default_rng(0)
    for place, values in enumerate(columns):
        if not len(values):
            axes.text(place, 0.5, "not defined", transform=axes.get_xaxis_transform(), ha="center", color=GREY)
            continue
        if len(values) < LEAST_OF_A_BOX:
            axes.hlines(np.median(values), place - 0.25, place + 0.25, color=ORANGE, linewidth=2.0)
        else:
            axes.boxplot([values], positions=[place], widths=0.5, showfliers=False, manage_ticks=False, **_BOX)
        shift = random.uniform(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + shift, values, **points(len(values)))
    if limits:
        axes.set_ylim(limits)
    elif any(len(values) for values in columns):
        scale_volumes(axes, np.concatenate(columns), "y")


def _plot_volumes(axes: Any, scores: Sequence[Scores]) -> None:
    label_ml, predicted_ml = (_column(scores, name) for name in ("label_ml", "prediction_ml"))
    axes.set(title="Volume", xlabel="label, ml", ylabel="prediction, ml")
    if not len(label_ml):
        say_nothing_to_plot(axes)
        return
    both = np.concatenate([label_ml, predicted_ml])
    top = 1.3 * max(both.max(), LINEAR_ML)
    axes.plot([0, top], [0, top], color=GREY, linewidth=0.8, linestyle="--", label="equal")
    axes.plot(label_ml, predicted_ml, **points(len(label_ml)))
    for axis in "xy":
        scale_volumes(axes, both, axis, top=top)
    axes.set_aspect("equal", adjustable="box")
    axes.legend(loc="upper left", frameon=False, fontsize="small")


def _plot_bland_altman(axes: Any, scores: Sequence[Scores]) -> None:
    """Plot the difference of the volumes against their mean, with the mean difference and the limits of agreement."""
    label_ml, predicted_ml = (_column(scores, name) for name in ("label_ml", "prediction_ml"))
    axes.set(
        title="Bland-Altman plot of the volume",
        xlabel="mean of label and prediction, ml",
        ylabel="prediction minus label, ml",
    )
    if not len(label_ml):
        say_nothing_to_plot(axes)
        return
    mean_ml, difference_ml = (label_ml + predicted_ml) / 2, predicted_ml - label_ml
    axes.plot(mean_ml, difference_ml, **points(len(mean_ml)))
    bias = float(difference_ml.mean())
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axhline(bias, color=ORANGE, linewidth=1.2, label=_signed(f"mean {bias:+.1f} ml"))
    if len(difference_ml) > 1:
        reach = LIMITS_OF_AGREEMENT * float(difference_ml.std(ddof=1))
        text = _signed(f"mean ± 1.96 SD: {bias - reach:+.1f} to {bias + reach:+.1f} ml")
        for place, label in ((bias - reach, text), (bias + reach, None)):
            axes.axhline(place, color=ORANGE, linewidth=1.0, linestyle="--", label=label)
    scale_volumes(axes, mean_ml, "x")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # room for the legend
    axes.legend(loc="upper left", frameon=False, fontsize="small")


def _plot_dice_by_volume(axes: Any, scores: Sequence[Scores]) -> None:
    label_ml, dice = _column(scores, "label_ml"), _column(scores, "dice")
    axes.set(title="Dice by volume", xlabel="label, ml", ylabel="Dice", ylim=(-0.03, 1.03))
    defined = np.isfinite(dice)
    if not defined.any():
        say_nothing_to_plot(axes)
        return
    axes.plot(label_ml[defined], dice[defined], **points(int(defined.sum())))
    scale_volumes(axes, label_ml[defined], "x")


def scale_volumes(axes: Any, values: np.ndarray, axis: str, *, top: float | None = None) -> None:
    """Set an axis from 0 on: linear up to 1, then logarithmic if the values need it."""
    from matplotlib.ticker import ScalarFormatter

    top = 1.3 * max(float(values.max()), LINEAR_ML) if top is None else top
    if top > LOGARITHMIC_FROM:
        getattr(axes, f"set_{axis}scale")("symlog", linthresh=LINEAR_ML, linscale=0.5)
        ticks = [0, *(10**power for power in range(int(math.log10(top)) + 1))]
        scaled = getattr(axes, f"{axis}axis")
        scaled.set_ticks(ticks)
        scaled.set_major_formatter(ScalarFormatter())
    margin = 0.06 if top > LOGARITHMIC_FROM else 0.03 * top
    getattr(axes, f"set_{axis}lim")(-2 * margin, top)


def _signed(text: str) -> str:
    """Write minus signs as matplotlib does on its axes."""
    return text.replace("-", "−")


def say_nothing_to_plot(axes: Any) -> None:
    """Write into empty axes that there is no case."""
    axes.text(0.5, 0.5, "no case", transform=axes.transAxes, ha="center", color=GREY)
    axes.set(xticks=[], yticks=[])


def points(count: int) -> dict[str, Any]:
    """Return how this number of points looks, as keywords of ``plot``."""
    many = count > SCATTERED
    return {
        "linestyle": "none",
        "marker": "o",
        "color": BLUE,
        "markersize": 3.0 if many else 5.0,
        "alpha": 0.45 if many else 0.8,
        "markeredgewidth": 0,
        "zorder": 3,
    }


_BOX: dict[str, dict[str, Any]] = {
    "boxprops": {"color": GREY},
    "whiskerprops": {"color": GREY},
    "capprops": {"color": GREY},
    "medianprops": {"color": ORANGE, "linewidth": 2.0},
}


def _column(scores: Sequence[Scores], name: str) -> np.ndarray:
    return np.array([getattr(one, name) for one in scores], np.float64)


def _defined(scores: Sequence[Scores], name: str) -> np.ndarray:
    column = _column(scores, name)
    defined: np.ndarray = column[np.isfinite(column)]
    return defined
