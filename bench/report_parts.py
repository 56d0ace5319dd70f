"""The parts of `bench.reporting`: what is measured, and its limits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.report_pair import Pair

if TYPE_CHECKING:
    from swfastedit_core.report.pictures.display import Display
    from swfastedit_core.report.record import Report
    from swfastedit_core.volume import Volume

SUV_WINDOW = (0.0, 10.0)
Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """What a part took.

    Attributes
    ----------
    seconds, cpu_seconds
        Wall time, and time of the processors in all threads; on a busy machine the first one is longer.
    peak_memory_mb
        Of its process, in MB (10⁶ bytes).
    files_mb
        Size of the files that it wrote.
    """

    seconds: float
    cpu_seconds: float
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


def _report(pair: Pair) -> tuple[Report, np.ndarray]:
    from swfastedit_core.report.compose import Origin, make_report

    origin = Origin(pet=Path("pet.mha"), mask=Path("mask.mha"), method="a synthetic mask")
    return make_report(pair.pet, pair.label_zyx, origin)


def _report_to_show(pair: Pair) -> tuple[Report, Callable[[], Display]]:
    """Return a report, and what makes its display."""
    from swfastedit_core.report.pictures.display import make_display

    report, numbers_zyx = _report(pair)
    boxes = [lesion.box for lesion in report.lesions]
    return report, lambda: make_display(pair.pet, numbers_zyx, boxes, suv_window=SUV_WINDOW)


def _figures(pair: Pair, _: Path) -> Work:
    import swfastedit_core.report.compose  # noqa: F401 # imported before the measurement

    return lambda: _report(pair)


def _mip(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report.pictures.mip_picture import draw_mip, save_mip

    report, display = _report_to_show(pair)
    return lambda: save_mip(draw_mip(report, display()), folder / "mip.png")


def _rotation(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report.pictures.rotation import encode_rotation, rotate

    report, display = _report_to_show(pair)

    def work() -> None:
        shown = display()
        points = shown.positions(lesion.centroid_xyz for lesion in report.lesions)
        sprite = encode_rotation(rotate(shown, points))["sprite"]
        (folder / "sprite.jpg").write_bytes(base64.b64decode(sprite.partition(",")[2]))

    return work


def _page(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report.page.report_page import write_page
    from swfastedit_core.report.pictures.mip_picture import draw_mip

    report, display = _report_to_show(pair)
    picture = draw_mip(report, display())
    return lambda: write_page(report, display(), picture, folder / "report.html", viewer=None)


def _whole(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report.write import write_report

    return lambda: write_report(*_with_scan(pair), folder)


def _with_scan(pair: Pair) -> tuple[Report, Volume, np.ndarray]:
    report, numbers_zyx = _report(pair)
    return report, pair.pet, numbers_zyx


def _viewer(pair: Pair, folder: Path) -> Work:
    from swfastedit_core.report.figures.lesions import number_lesions
    from swfastedit_core.report.page import niivue
    from swfastedit_core.report.page.viewer import viewer_section

    niivue.read()
    numbers_zyx, _ = number_lesions(pair.label_zyx)
    return lambda: (folder / "section.html").write_text(viewer_section(pair.pet, numbers_zyx))


PARTS = (
    Part("scores", "all scores of a mask", _scores, seconds=10, peak_memory_mb=3000),
    Part("figures", "figures of the lesions and the patient, liver reference", _figures),
    Part("mip", "mip.png", _mip, seconds=2),
    Part("rotation", "projection that turns", _rotation, seconds=5, files_mb=2),
    Part("page", "report.html", _page),
    Part("report", "the whole report: figures and all files", _whole, seconds=8),
    Part("viewer", "section with NiiVue (--viewer)", _viewer, files_mb=12),
)


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """Return a table in Markdown: medians of the runs, with the limits."""
    lines = ["| part | time | limit | CPU time | peak memory | limit | files | limit |", "|---" * 8 + "|"]
    for part in PARTS:
        if part.name not in results:
            continue
        result = median(results[part.name])
        cells = [part.what, f"{result.seconds:.1f} s", _limit(part.seconds, "s"), f"{result.cpu_seconds:.1f} s"]
        cells += [f"{result.peak_memory_mb / 1000:.2f} GB", _limit(part.peak_memory_mb, "GB", 1000)]
        cells += [f"{result.files_mb:.1f} MB" if result.files_mb else "", _limit(part.files_mb, "MB")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def median(runs: Sequence[Result]) -> Result:
    """Return the medians of the times, and the highest memory and size."""
    return Result(
        float(np.median([run.seconds for run in runs])),
        float(np.median([run.cpu_seconds for run in runs])),
        max(run.peak_memory_mb for run in runs),
        max(run.files_mb for run in runs),
    )


def _limit(value: float | None, unit: str, divisor: float = 1) -> str:
    return "" if value is None else f"{value / divisor:g} {unit}"
