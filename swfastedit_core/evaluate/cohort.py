"""Scores of many pairs of a label and a prediction; a case that cannot be scored does not stop the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from swfastedit_core.errors import DataWarning, UserError, is_out_of_memory
from swfastedit_core.evaluate.pairs import Pair
from swfastedit_core.files.geometry import read_geometry
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.labels.masks import align, interpolate_mask, read_label_file, select_lesions
from swfastedit_core.metrics.scores import TOLERANCE_MM, Scores, score_mask
from swfastedit_core.resample import share_inside
from swfastedit_core.system.memory import usable_memory_bytes
from swfastedit_core.system.processors import available_cpus
from swfastedit_core.volume import Geometry, Volume

BYTES_PER_VOXEL, BYTES_OF_LIBRARIES = 40, 400_000_000  # of a process that scores a case
KILLED = "the process that scored it was killed; free some memory or use fewer --workers, or is a file damaged?"
OUT_OF_MEMORY = "out of memory; free some memory or use fewer --workers"
FEW_VOXELS = 100_000_000  # of all cases together; they are scored sooner than other processes start


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How masks are read and scored.

    Attributes
    ----------
    rules, tolerance_mm
        As `score_mask`.
    lesion_labels, prediction_labels
        Values of labels, and of predictions, that are lesions; empty: all above 0.
    form
        Which coordinates of NIfTI files count, as `read_volume`.
    resample
        Whether a prediction on another grid is brought to the label's; otherwise it is refused.
    """

    rules: str = "autopet5"
    tolerance_mm: float = TOLERANCE_MM
    lesion_labels: tuple[int, ...] = ()
    prediction_labels: tuple[int, ...] = ()
    form: Form = "auto"
    resample: bool = False


S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class ScoredCase(Generic[S]):
    """The scores of a case, or why it has none.

    Attributes
    ----------
    case
        Name of the case.
    scores
        None if there is a problem.
    problem
        Why the case has no scores, in one line; empty if it has.
    remark
        What is odd about its files; empty if nothing is.
    seconds
        Time to read, segment and score it; None if it was not segmented.
    """

    case: str
    scores: S | None = None
    problem: str = ""
    remark: str = ""
    seconds: float | None = None


CaseResult = ScoredCase[Scores]


def score_cases(
    pairs: Sequence[Pair], scoring: Scoring, *, workers: int | None = None, progress: Callable[[CaseResult], None]
) -> list[CaseResult]:
    """Score pairs, several at a time.

    Parameters
    ----------
    pairs
        The files.
    scoring
        How they are read and scored.
    workers
        Number of processes; 0: in this process, one after the other. None: `count_workers`.
    progress
        Called with each result as soon as it exists.

    Returns
    -------
    list of CaseResult
        In the order of `pairs`. Nothing about a file raises.
    """
    results: dict[int, CaseResult] = {}
    for index, result in _results(pairs, scoring, count_workers(pairs, scoring) if workers is None else workers):
        results[index] = result
        progress(result)
    return [results[index] for index in range(len(pairs))]


def _results(pairs: Sequence[Pair], scoring: Scoring, workers: int) -> Iterator[tuple[int, CaseResult]]:
    work = partial(score_pair, scoring=scoring)
    if workers == 0:
        yield from enumerate(map(work, pairs))
        return
    from swfastedit_core.system.isolated import map_isolated  # imports torch

    for index, result in map_isolated(work, pairs, workers=workers):
        yield index, result or CaseResult(case=pairs[index].case, problem=KILLED)


def count_workers(pairs: Sequence[Pair], scoring: Scoring) -> int:
    """Return for how many processes processors and free memory suffice; 0 for a single case, and for small ones."""
    voxels = [_count_voxels(pair.label, scoring.form) for pair in pairs]
    if len(pairs) == 1 or sum(voxels) < FEW_VOXELS:
        return 0
    usable = usable_memory_bytes()
    needed = max(voxels) * BYTES_PER_VOXEL + BYTES_OF_LIBRARIES
    fitting = len(pairs) if usable is None else int(usable // needed)
    return max(1, min(available_cpus(), len(pairs), fitting))


def _count_voxels(path: Path, form: Form) -> int:
    """Return 0 if the file cannot be read, which is said when its case is scored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            return int(np.prod(read_geometry(path, form=form).size_xyz))
        except (UserError, OSError):
            return 0


def score_pair(pair: Pair, scoring: Scoring) -> CaseResult:
    """Read and score a pair. An error becomes the problem of the result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        try:
            scores = score_volumes(*read_pair(pair, scoring), scoring)
        except UserError as error:
            return CaseResult(case=pair.case, problem=_one_line(str(error)))
        # A library can raise anything for an unexpected file. The other cases are still scored.
        except Exception as error:
            what = OUT_OF_MEMORY if is_out_of_memory(error) else f"cannot be scored ({type(error).__name__}: {error})"
            return CaseResult(case=pair.case, problem=_one_line(what))
    remarks = dict.fromkeys(_one_line(str(one.message)) for one in caught if issubclass(one.category, DataWarning))
    return CaseResult(case=pair.case, scores=scores, remark="; ".join(remarks))


def score_volumes(label: Volume, prediction: Volume, scoring: Scoring) -> Scores:
    """Score a mask against a label on the same grid; both hold 0 and 1."""
    x_mm, y_mm, z_mm = label.geometry.spacing_mm
    return score_mask(
        label.array_zyx,
        prediction.array_zyx,
        spacing_zyx_mm=(z_mm, y_mm, x_mm),
        rules=scoring.rules,
        tolerance_mm=scoring.tolerance_mm,
    )


def read_pair(pair: Pair, scoring: Scoring) -> tuple[Volume, Volume]:
    """Read label and prediction as uint8, 1 in lesions, both on the label's grid. Headers are compared first.

    Raises
    ------
    UserError
        If a file cannot be read or is not a mask, or the grids differ and `scoring.resample` is not set.
    """
    grid = read_geometry(pair.label, form=scoring.form)
    stored = read_geometry(pair.prediction, form=scoring.form)
    if not scoring.resample:
        _require_same_grid(stored, grid, pair.prediction)
    label = _read_mask(pair.label, scoring.lesion_labels, scoring.form, what="label")
    prediction = _read_mask(pair.prediction, scoring.prediction_labels, scoring.form, what="prediction")
    try:
        return label, align(prediction, label.geometry, pair.prediction, what="prediction", of="label")
    except UserError:
        if not scoring.resample:
            raise
    return label, _bring_over(prediction, label.geometry, pair.prediction)


def _require_same_grid(stored: Geometry, grid: Geometry, path: Path) -> None:
    """Compare two grids as `align` does, without their voxels."""
    empty = Volume(np.broadcast_to(np.uint8(0), stored.shape_zyx), stored)
    try:
        align(empty, grid, path, what="prediction", of="label")
    except UserError as error:
        raise UserError(
            f"{error}; of one patient? then --resample brings the prediction to the label's grid"
        ) from error


def _read_mask(path: Path, lesions: Sequence[int], form: Form, *, what: str) -> Volume:
    stored, values = read_label_file(path, form=form, what=what)
    if values and lesions and not set(values) & set(lesions):
        warn(f"{path}: the {what} has no voxel with a lesion value ({_list(lesions)}), only {_list(values)}")
    return Volume(select_lesions(stored.array_zyx, lesions), stored.geometry)


def _bring_over(prediction: Volume, grid: Geometry, path: Path) -> Volume:
    """Resample a prediction to the label's grid; warn about what changes."""
    resampled = interpolate_mask(prediction, grid)
    changed = [f"{_count_ml(prediction):.2f} ml became {_count_ml(resampled):.2f} ml"]
    voxels = int(np.count_nonzero(prediction.array_zyx))
    inside = _count_inside(prediction, grid)
    if voxels and not inside:
        raise UserError(
            f"{path}: all lesions of the prediction lie outside of the label's grid, expected two masks of one patient "
            "in the same coordinates"
        )
    if inside < voxels:
        changed.append(f"{100 * (1 - inside / voxels):.1f} % of its voxels lie outside of the label's grid")
    warn(f"{path}: resampled to the label's grid; {', '.join(changed)}")
    return resampled


def _count_inside(mask: Volume, grid: Geometry) -> int:
    """Count the voxels of a mask whose centres lie within a grid, slice by slice to save memory."""
    own, count = mask.geometry, 0
    for z, plane in enumerate(mask.array_zyx):
        y, x = np.nonzero(plane)
        if len(x):
            index_xyz = np.column_stack((x, y, np.full(len(x), z)))
            points_mm = index_xyz * own.spacing_mm @ own.axes_lps.T + own.origin_mm
            count += round(share_inside(points_mm, grid) * len(x))
    return count


def _count_ml(mask: Volume) -> float:
    return float(np.count_nonzero(mask.array_zyx) * mask.geometry.voxel_ml)


def warn(text: str) -> None:
    """Give a `DataWarning`, which becomes a remark of the case."""
    warnings.warn(DataWarning(text), stacklevel=2)


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:10])) + (", …" if len(values) > 10 else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
