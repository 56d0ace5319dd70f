"""The parts of `bench.reporting`: what is measured, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report_pair import Pair

Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """What a part took: seconds, peak memory of its process in MB (10⁶ bytes), size of its files in MB."""

    seconds: float
    peak_memory_mb: float
    files_mb: float


@dataclass(frozen=True)
class Part:
    """A part and its limits.

    Attributes
    ----------
    name, what
        For the command line, and in words.
    prepare
        Returns the function that is timed. It gets the pair and an empty folder for files.
    seconds, peak_memory_mb, files_mb
        Limits; None: there is none.
    """

    name: str
    what: str
    prepare: Callable[[Pair, Path], Work]
    seconds: float | None = None
    peak_memory_mb: float | None = None
    files_mb: float | None = None

    def exceeded(self, result: Result) -> list[str]:
        """Return which of `seconds`, `peak_memory_mb` and `files_mb` are above their limits."""
        names = ("seconds", "peak_memory_mb", "files_mb")
        return [name for name in names if (limit := getattr(self, name)) is not None and getattr(result, name) > limit]


def _scores(pair: Pair, _: Path) -> Work:
    from swfastedit_core.metrics.scores import score_mask

    spacing = pair.pet.geometry.spacing_mm[::-1]
    return lambda: score_mask(pair.label_zyx, pair.prediction_zyx, spacing_zyx_mm=spacing)


def _figures(pair: Pair, _: Path) -> Work:
    from swfastedit_core.report.lesions import number_lesions
    from swfastedit_core.report.measure import measure_lesions

    return lambda: measure_lesions(pair.pet, *number_lesions(pair.label_zyx))


def _liver(pair: Pair, _: Path) -> Work:
    from swfastedit_core.report.find_liver import find_liver

    return lambda: find_liver(pair.pet, pair.label_zyx)


def _viewer(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report import niivue
    from swfastedit_core.report.lesions import number_lesions
    from swfastedit_core.report.viewer import viewer_section

    niivue.read()
    numbers, _ = number_lesions(pair.label_zyx)
    return lambda: (folder / "section.html").write_text(viewer_section(pair.pet, numbers))


PARTS = (
    Part("scores", "all scores of a mask", _scores, seconds=10, peak_memory_mb=3000),
    Part("figures", "figures of the lesions", _figures),
    Part("liver", "search for the liver", _liver),
    Part("viewer", "the section with NiiVue (--viewer)", _viewer, files_mb=13),
)


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """Return a table in Markdown: medians of the runs, with the limits."""
    lines = ["| part | time | limit | peak memory | limit | files | limit |", "|---|---|---|---|---|---|---|"]
    for part in PARTS:
        if part.name not in results:
            continue
        result = median(results[part.name])
        cells = [part.what, f"{result.seconds:.1f} s", _limit(part.seconds, "s")]
        cells += [f"{result.peak_memory_mb / 1000:.2f} GB", _limit(part.peak_memory_mb, "GB", 1000)]
        cells += [f"{result.files_mb:.1f} MB" if result.files_mb else "", _limit(part.files_mb, "MB")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def median(runs: Sequence[Result]) -> Result:
    """Return the median of the seconds, and the highest memory and size."""
    return Result(
        float(np.median([run.seconds for run in runs])),
        max(run.peak_memory_mb for run in runs),
        max(run.files_mb for run in runs),
    )


def _limit(value: float | None, unit: str, divisor: float = 1) -> str:
    return "" if value is None else f"{value / divisor:g} {unit}"
