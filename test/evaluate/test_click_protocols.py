"""Which clicks the protocols give."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_masks import box

from swfastedit_core.clicks import ClickKind
from swfastedit_core.evaluate.clicks.protocols import AutoPet4, AutoPet5, Corrective
from swfastedit_core.interactive.simulate.autopet4 import autopet4_clicks

SHAPE = (8, 10, 12)
LABEL = box(SHAPE, (1, 2, 3), (3, 3, 3)) | box(SHAPE, (6, 7, 8), (1, 2, 3))
NOTHING = np.zeros(SHAPE, bool)
SUV = np.random.default_rng(0).random(SHAPE)


def start(protocol, *, label=LABEL, case="a", number=0):
    return protocol.annotator(label, SUV, case=case, number=number)


def at(click, array_zyx):
    """Return the value of an array at a click, whose position is x, y, z."""
    x, y, z = click.position
    return array_zyx[z, y, x]


def test_autopet_4_gives_the_clicks_of_its_generator_one_of_each_kind_a_step():
    annotate = start(AutoPet4())
    steps = [annotate(NOTHING) for _ in range(10)]
    expected = autopet4_clicks(LABEL, SUV, np.random.default_rng(42))
    for number, clicks in enumerate(steps):
        assert [click.kind for click in clicks] == [ClickKind.TUMOUR, ClickKind.BACKGROUND]
        assert clicks[0].position == tuple(expected.tumour[number][::-1])
        assert clicks[1].position == tuple(expected.background[number][::-1])
        assert at(clicks[0], LABEL)
        assert not at(clicks[1], LABEL)
        assert clicks[0].space == "voxel"
    again = start(AutoPet4(), case="b", number=7)
    assert [again(LABEL) for _ in range(10)] == steps  # not from the prediction, and the same for every name


def test_autopet_4_gives_background_clicks_only_to_an_empty_label():
    annotate = start(AutoPet4(), label=NOTHING)
    assert {click.kind for _ in range(10) for click in annotate(NOTHING)} == {ClickKind.BACKGROUND}


def test_autopet_5_scribbles_on_the_larger_error_in_one_slice():
    annotate = start(AutoPet5(), number=2)
    tumour = annotate(NOTHING)
    assert {click.kind for click in tumour} == {ClickKind.TUMOUR}
    assert all(at(click, LABEL) for click in tumour)
    assert len({click.position[2] for click in tumour}) == 1
    large = LABEL | box(SHAPE, (0, 0, 0), (1, 9, 3))
    background = annotate(large)
    assert {click.kind for click in background} == {ClickKind.BACKGROUND}
    assert all(at(click, large & ~LABEL) for click in background)
    assert annotate(LABEL) == ()


def test_autopet_5_gives_no_scribble_to_an_empty_label():
    assert start(AutoPet5(), label=NOTHING)(LABEL) == ()


def test_autopet_5_divides_the_strategies_among_the_cases():
    assert [AutoPet5().of_case(number) for number in range(5)] == [
        "centerline",
        "random",
        "boundary",
        "centerline",
        "random",
    ]


def test_deepest_clicks_once_a_round_and_not_twice_at_the_same_voxel():
    annotate = start(Corrective(last_step=20))
    first, second = annotate(NOTHING), annotate(NOTHING)
    assert [(click.kind, click.position) for click in first] == [(ClickKind.TUMOUR, (4, 3, 2))]
    assert second[0].position != first[0].position
    assert at(second[0], LABEL)
    assert annotate(LABEL) == ()


@pytest.mark.parametrize("placing", ["uniform", "distance"])
@pytest.mark.parametrize("strategy", ["corrective", "patch-corrective"])
def test_random_clicks_lie_in_the_errors_one_of_each_kind(placing, strategy):
    protocol = Corrective(last_step=20, placing=placing, strategy=strategy)
    annotate = start(protocol)
    prediction = box(SHAPE, (2, 3, 4), (5, 3, 4))
    rounds = [annotate(prediction) for _ in range(30)]
    for clicks in rounds:
        assert [click.kind for click in clicks] == [ClickKind.TUMOUR, ClickKind.BACKGROUND]
        assert at(clicks[0], LABEL & ~prediction)
        assert at(clicks[1], prediction & ~LABEL)
    assert len(set(rounds)) > 10
    assert [click.kind for click in annotate(LABEL | prediction)] == [ClickKind.BACKGROUND]
    assert annotate(LABEL) == ()
    same, other = start(protocol, number=9), start(protocol, case="b")
    assert [same(prediction) for _ in range(30)] == rounds
    assert [other(prediction) for _ in range(30)] != rounds


def test_a_right_prediction_ends_the_clicks_of_every_strategy():
    annotate = start(Corrective(last_step=20, placing="uniform", strategy="non-corrective"))
    assert len(annotate(NOTHING)) == 2
    assert annotate(LABEL) == ()


def test_settings_say_what_defines_a_protocol():
    assert AutoPet4().settings() == {"protocol": "autopet4", "steps": 10, "seed": 42}
    assert AutoPet5().settings()["steps"] == 5
    assert Corrective(last_step=3).settings() == {
        "protocol": "corrective",
        "steps": 3,
        "draw": "deepest",
        "strategy": "corrective",
    }
    uniform = Corrective(last_step=3, placing="uniform", strategy="deepgrow").settings()
    assert (uniform["draw"], uniform["strategy"], uniform["seed"]) == ("uniform", "deepgrow", 42)
