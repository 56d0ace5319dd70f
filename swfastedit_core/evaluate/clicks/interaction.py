"""Let a simulated annotator correct a scan, and score the mask of each step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.evaluate.clicks.curve import Curve, Step, Voxel
from swfastedit_core.evaluate.clicks.protocols import Annotator, ClickProtocol
from swfastedit_core.interactive.session import Session
from swfastedit_core.metrics.overlap_scores import OverlapScores, score_overlap
from swfastedit_core.system.command import attempt
from swfastedit_core.volume import Volume

Progress = Callable[[int, int], None]


def run_interaction(
    start: Callable[[], Session],
    annotate: Annotator,
    label: Volume,
    *,
    protocol: ClickProtocol,
    rules: str,
    drawn_by: str = "",
    progress: Progress | None = None,
) -> tuple[Curve, Volume]:
    """Segment a scan, then correct it step by step.

    Parameters
    ----------
    start
        Starts the session of the scan; its time belongs to step 0.
    annotate
        Gives the clicks.
    label
        On the scan's grid; voxels that are not 0 are tumour.
    protocol
        Says how many steps there are, and whether failed ones score 0.
    rules
        As for `score_overlap`.
    drawn_by
        See `Curve`.
    progress
        Called with the number of steps that are done and of all steps.

    Returns
    -------
    Curve
        All steps. A step without new clicks has the scores of the step before; nothing is computed. Where failed steps
        score 0, the step after a failed one has new clicks on the last mask, as in the published loop of autoPET V.
    Volume
        The mask of the last step that did not fail.

    Raises
    ------
    UserError
        As `Session`; where failed steps score 0, only in step 0.
    """
    report = progress or (lambda *_: None)
    count = protocol.last_step + 1
    begin = time.perf_counter()
    session = start()
    steps = [_settle(session, label, begin=begin, rules=rules)]
    for done in range(1, count):
        report(done, count)
        steps.append(
            _next_step(session, steps[-1], annotate, label, zero=protocol.failed_step_scores_zero, rules=rules)
        )
    report(count, count)
    return Curve(tuple(steps), drawn_by), session.mask


def _next_step(session: Session, last: Step, annotate: Annotator, label: Volume, *, zero: bool, rules: str) -> Step:
    new = annotate(session.mask.array_zyx)
    if not new:
        return replace(last, tumour=(), background=(), seconds=None)
    tumour, background = (_voxels(new, kind) for kind in (ClickKind.TUMOUR, ClickKind.BACKGROUND))
    steps: list[Step] = []

    def correct() -> None:
        begin = time.perf_counter()
        session.add(new)
        steps.append(_settle(session, label, begin=begin, rules=rules))

    if not zero:
        correct()
    elif failure := attempt(correct):
        steps.append(Step(scores=_nothing_scored(last.scores), failure=failure.reason))
    return replace(steps[0], tumour=tumour, background=background)


def _settle(session: Session, label: Volume, *, begin: float, rules: str) -> Step:
    update = session.settle()
    seconds = time.perf_counter() - begin if update.windows else None
    scores = score_overlap(label.array_zyx, update.mask.array_zyx, voxel_ml=label.geometry.voxel_ml, rules=rules)
    return Step(scores=scores, seconds=seconds)


def _nothing_scored(last: OverlapScores) -> OverlapScores:
    """Return the scores of a failed step: 0, and FPV and FNV are not defined without a mask."""
    return OverlapScores(
        dice=last.dice if math.isnan(last.dice) else 0.0,
        fpv_ml=math.nan,
        fnv_ml=math.nan,
        true_positives=0,
        false_positives=0,
        false_negatives=last.true_positives + last.false_negatives,
    )


def _voxels(clicks: tuple[Click, ...], kind: ClickKind) -> tuple[Voxel, ...]:
    sides = [click.position for click in clicks if click.kind is kind]
    return tuple((int(x), int(y), int(z)) for x, y, z in sides)
