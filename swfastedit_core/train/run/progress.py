"""Lines about the progress of a run, with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Mapping

UNITS = (("day", "days", 86400.0), ("h", "h", 3600.0), ("min", "min", 60.0))


def describe_progress(metrics: Mapping[str, float], *, step: int, steps: int, starting: bool = False) -> str:
    """Describe the last steps of a run in one line.

    Parameters
    ----------
    metrics
        From `StepTimer`.
    step, steps
        Number of finished steps, and of all steps.
    starting
        Whether the metrics are those of the first step. It waits while the processes that make crops start, so this
        time does not count for the time left.
    """
    seconds, waiting = metrics["seconds_per_step"], metrics["waiting"]
    line = f"step {step} of {steps}: loss {metrics['loss']:.4f}, {seconds:.2f} s a step"
    line += f", {waiting:.0%} of it waiting for crops"
    if metrics["skipped"]:
        line += f", {metrics['skipped']} steps skipped"
    if step < steps:
        seconds_left = (steps - step) * seconds * (1 - waiting if starting else 1)
        line += f", {describe_duration(seconds_left)} left"
    return line


def describe_scores(means: Mapping[str, float]) -> str:
    """Describe the mean scores of a validation, without clicks and, if there are any, with clicks."""
    without = _describe_scores(means, "")
    if "clicked_dice" not in means:
        return without
    return f"without clicks {without}; with {means['clicks']:.0f} of each kind {_describe_scores(means, 'clicked_')}"


def _describe_scores(means: Mapping[str, float], prefix: str) -> str:
    dice, fpv_ml, fnv_ml = (means[f"{prefix}{name}"] for name in ("dice", "fpv_ml", "fnv_ml"))
    return f"mean Dice {dice:.4f}, FPV {fpv_ml:.1f} ml, FNV {fnv_ml:.1f} ml"


def describe_duration(seconds: float) -> str:
    """Describe a duration in the largest unit of which there are at least two, as in "about 12 min"."""
    for one, several, unit in UNITS:
        count = round(seconds / unit)
        if count >= 2 or (count == 1 and unit == UNITS[-1][-1]):
            return f"about {count} {one if count == 1 else several}"
    return "less than a minute"
