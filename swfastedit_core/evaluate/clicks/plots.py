"""``clicks.png``: metrics by step, times, and the share of cases that reach a Dice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.evaluate.clicks.curve import Curve, first_step_with
from swfastedit_core.evaluate.clicks.summary import TARGETS, ClickSummary
from swfastedit_core.evaluate.plots import BLUE, DPI, GREY, ORANGE, say_nothing_to_plot, scale_volumes
from swfastedit_core.evaluate.summary import Interval
from swfastedit_core.report.pictures.plots import new_figure, save_figure

SIZE_INCHES = (12.0, 7.6)
COLOURS = (BLUE, ORANGE)  # of TARGETS
MANY = 20  # curves of more cases are paler
Points = Sequence[tuple[float | None, Interval | None]]  # mean and interval by step


def write_click_plots(curves: Sequence[Curve], summary: ClickSummary, path: Path, *, step_is: str) -> None:
    """Plot curves as PNG: the mean with its interval, and a thin line for each case.

    Parameters
    ----------
    curves
        Of the cases.
    summary
        Of the same cases.
    path
        The file.
    step_is
        Name of the horizontal axis.

    Raises
    ------
    UserError
        If matplotlib is missing or the file cannot be written.
    """
    figure, (dice, dmm, reached, fpv, fnv, seconds) = new_figure(2, 3, size_inches=SIZE_INCHES)
    for axes in (dice, dmm, reached, fpv, fnv, seconds):
        axes.set_xlabel(step_is)
        axes.set_xlim(0, max(len(summary.steps) - 1, 1))
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes, name, title in ((dice, "dice", "Dice"), (fpv, "fpv_ml", "FPV"), (fnv, "fnv_ml", "FNV")):
        points = [(step.metrics[name].mean, step.metrics[name].interval) for step in summary.steps]
        _plot_metric(axes, [curve.values(name) for curve in curves], points, title=title)
    points = [(step.lesions.f1.value, step.lesions.f1.interval) for step in summary.steps]
    _plot_metric(dmm, [curve.values("dmm") for curve in curves], points, title="DMM, F1 of lesions", of="all lesions")
    for axes in (dice, dmm):
        axes.set_ylim(-0.03, 1.03)
    for axes in (fpv, fnv):
        axes.set_ylabel("ml")
        scale_volumes(axes, _all_values(axes), "y")
    _plot_reached(reached, curves)
    _plot_seconds(seconds, curves, summary)
    save_figure(figure, path, dpi=DPI)


def _plot_metric(
    axes: Any, values: Sequence[np.ndarray], points: Points, *, title: str, of: str = "mean", unit: str = ""
) -> None:
    """Plot the curves of the cases, and over them the mean with its interval."""
    defined = [one for one in values if np.isfinite(one).any()]
    axes.set(title=f"{title} (n = {len(defined)})", ylabel=unit)
    if not defined:
        say_nothing_to_plot(axes)
        return
    for one in defined:
        axes.plot(one, color=GREY, linewidth=0.7, alpha=0.25 if len(defined) > MANY else 0.5, zorder=2)
    means = np.array([np.nan if mean is None else mean for mean, _ in points])
    axes.plot(means, color=BLUE, linewidth=2.2, marker="o", markersize=4, label=of, zorder=4)
    low, high = (
        np.array([mean if pair is None else pair[end] for mean, (_, pair) in zip(means, points, strict=True)])
        for end in (0, 1)
    )
    if (low < high).any():
        axes.fill_between(range(len(means)), low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 %", zorder=3)
    axes.legend(loc="best", framealpha=0.85, edgecolor="none", fontsize="small")


def _all_values(axes: Any) -> np.ndarray:
    """Return the finite values of all lines of axes; 0 if there is none."""
    values = np.concatenate([[0.0], *(np.asarray(line.get_ydata(), np.float64) for line in axes.lines)])
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _plot_reached(axes: Any, curves: Sequence[Curve]) -> None:
    """Plot the share of the cases that have reached each target."""
    dices = [dice for curve in curves if not np.isnan(dice := curve.values("dice")).any()]
    axes.set(title=f"Cases that have reached a Dice (n = {len(dices)})", ylim=(-0.03, 1.03), ylabel="share")
    if not dices:
        say_nothing_to_plot(axes)
        return
    steps = np.arange(len(dices[0]))
    for target, colour in zip(TARGETS, COLOURS, strict=True):
        first = [step for dice in dices if (step := first_step_with(dice, target)) is not None]
        share = [sum(one <= step for one in first) / len(dices) for step in steps]
        label = f"{target:g}: {len(first)} of {len(dices)}"
        axes.step(steps, share, where="post", color=colour, linewidth=2.0, marker="o", markersize=4, label=label)
    axes.legend(loc="best", framealpha=0.85, edgecolor="none", fontsize="small")


def _plot_seconds(axes: Any, curves: Sequence[Curve], summary: ClickSummary) -> None:
    """Plot the time of each step; steps without a computation have none."""
    axes.set(title="Time from the clicks to the mask", ylabel="s")
    for curve in curves:
        seconds = [np.nan if step.seconds is None else step.seconds for step in curve.steps]
        axes.plot(seconds, color=GREY, linewidth=0.7, marker=".", markersize=2, alpha=0.4, zorder=2)
    medians = [np.nan if step.seconds.median is None else step.seconds.median for step in summary.steps]
    axes.plot(medians, color=BLUE, linewidth=2.2, marker="o", markersize=4, label="median", zorder=4)
    axes.set_ylim(bottom=0)
    axes.legend(loc="best", framealpha=0.85, edgecolor="none", fontsize="small")
