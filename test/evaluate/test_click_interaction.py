"""The loop over the steps of a case."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_masks import box
from painting_session import PaintingSession

from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.interaction import run_interaction
from swfastedit_core.evaluate.clicks.protocols import AutoPet4, AutoPet5, Corrective
from swfastedit_core.volume import Geometry, Volume

SHAPE = (6, 7, 8)
GRID = Geometry(SHAPE[::-1], (10.0, 10.0, 10.0))  # a voxel is 1 ml
LESION = box(SHAPE, (1, 2, 3), (4, 1, 1))  # a column of four voxels
PET = Volume(np.where(LESION, 5.0, 1.0).astype(np.float32), GRID)
LABEL = Volume(LESION.astype(np.uint8), GRID)
TUMOUR = (Click(ClickKind.TUMOUR, (3, 2, 4)),)


def run(annotate, *, protocol=None, label=LABEL, session=PaintingSession, **options):
    protocol = protocol or Corrective(last_step=3)
    return run_interaction(lambda: session(None, PET), annotate, label, protocol=protocol, rules="autopet5", **options)


def answers(*prompts):
    """Return an annotator that gives these clicks one after the other, then none."""
    left = list(prompts)
    return lambda _: left.pop(0) if left else ()


def test_steps_are_scored_after_their_clicks():
    seen = []

    def annotate(prediction):
        seen.append(int(prediction.sum()))
        return TUMOUR if len(seen) == 2 else ()

    curve, mask = run(annotate)
    assert [one.scores.dice for one in curve.steps] == pytest.approx([2 * 2 / 6, 2 * 2 / 6, 1.0, 1.0])
    assert seen == [2, 2, 4]  # the mask before each step
    assert [one.tumour for one in curve.steps] == [(), (), ((3, 2, 4),), ()]
    np.testing.assert_array_equal(mask.array_zyx, LESION)


def test_nothing_is_computed_without_a_new_click():
    sessions = []

    def session(*arguments):
        sessions.append(PaintingSession(*arguments))
        return sessions[-1]

    curve, _ = run(answers((), TUMOUR), session=session)
    assert sessions[0].settled == 2
    assert [one.seconds is None for one in curve.steps] == [False, True, False, True]


def test_clicks_that_repeat_earlier_ones_count_and_have_no_time():
    """The generator of autoPET IV can draw a voxel of a border twice; no window runs then."""
    curve, _ = run(answers(TUMOUR, TUMOUR))
    assert [one.seconds is None for one in curve.steps] == [False, False, True, True]
    assert len(curve.seconds_of_clicks) == 1
    assert [curve.clicks_until(number) for number in range(4)] == [(0, 0), (1, 0), (2, 0), (2, 0)]
    assert curve.steps[2].scores == curve.steps[1].scores


def test_progress_ends_with_all_steps():
    moves = []
    run(answers(), progress=lambda *move: moves.append(move))
    assert moves == [(1, 4), (2, 4), (3, 4), (4, 4)]


def fail_at(number):
    """Return a session whose update with this number fails."""

    class Failing(PaintingSession):
        def settle(self, progress=None):
            if self.settled + 1 == number:
                self.settled += 1  # only this update fails
                raise UserError("out of memory: too little")
            return super().settle(progress)

    return Failing


def test_in_autopet_5_a_failed_step_scores_0_and_the_next_one_goes_on_from_the_last_mask():
    """As in the published loop, which leaves the mask of the step before where it was."""
    masks, background = [], (Click(ClickKind.BACKGROUND, (0, 0, 0)),)
    prompts = answers(background, TUMOUR)

    def annotate(mask):
        masks.append(int(mask.sum()))
        return prompts(mask)

    curve, mask = run(annotate, protocol=AutoPet5(), session=fail_at(2), drawn_by="random")
    assert [one.scores.dice for one in curve.steps] == pytest.approx([2 / 3, 0, 1.0, 1.0, 1.0, 1.0])
    assert [one.scores.dmm for one in curve.steps] == [1.0, 0, 1.0, 1.0, 1.0, 1.0]
    assert [math.isnan(one.scores.fpv_ml) for one in curve.steps] == [False, True, *[False] * 4]
    assert [one.failure for one in curve.steps] == ["", "out of memory: too little", "", "", "", ""]
    assert [one.seconds is None for one in curve.steps] == [False, True, False, True, True, True]
    assert [one.background for one in curve.steps] == [(), ((0, 0, 0),), (), (), (), ()]
    assert [one.tumour for one in curve.steps] == [(), (), ((3, 2, 4),), (), (), ()]
    assert curve.drawn_by == "random"
    assert masks == [2, 2, 4, 4, 4]
    np.testing.assert_array_equal(mask.array_zyx, LESION)


def test_the_mask_of_a_failed_last_step_is_that_of_the_last_one_that_did_not_fail():
    curve, mask = run(answers((), (), (), (), TUMOUR), protocol=AutoPet5(), session=fail_at(2))
    assert (curve.failed_step, curve.steps[5].scores.false_negatives) == (5, 1)
    assert int(mask.array_zyx.sum()) == 2


def test_a_failed_step_of_an_empty_label_stays_not_defined():
    empty = Volume(np.zeros(SHAPE, np.uint8), GRID)
    curve, _ = run(answers(TUMOUR), protocol=AutoPet5(), session=fail_at(2), label=empty)
    assert [math.isnan(one.scores.dice) for one in curve.steps] == [True] * 6
    assert curve.label_is_empty


@pytest.mark.parametrize("protocol", [AutoPet4(), Corrective(last_step=3)])
def test_elsewhere_a_failed_step_fails_the_case(protocol):
    with pytest.raises(UserError, match="out of memory"):
        run(answers(TUMOUR), protocol=protocol, session=fail_at(2))


def test_a_failed_first_step_fails_the_case():
    with pytest.raises(UserError, match="out of memory"):
        run(answers(TUMOUR), protocol=AutoPet5(), session=fail_at(1))
