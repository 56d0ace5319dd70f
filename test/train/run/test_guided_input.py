"""Clicks in the errors of predictions, and guidance channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from swfastedit_core.click_encodings import DiscEncoding
from swfastedit_core.train.crops.click_settings import FROM_ERROR, NO_CLICK, ClickSettings
from swfastedit_core.train.run.guided_input import add_guidance, place_in_errors, place_in_rounds

SHAPE = (12, 12, 12)
LABEL = torch.zeros(SHAPE, dtype=torch.uint8)
LABEL[1:8, 4:8, 4:8] = 1
PREDICTED = torch.zeros(SHAPE, dtype=torch.bool)
PREDICTED[5:11, 4:8, 4:8] = True  # misses x < 5, and 8 to 10 are false


def logits_of(mask, *, contrast=20.0):
    tumour = torch.where(mask != 0, contrast, -contrast)
    return torch.stack([torch.zeros_like(tumour), tumour])[None]


def clicks_of(tumour=(), background=(), most=4):
    clicks = np.full((2, most, 3), NO_CLICK, np.int64)
    for rows, of_kind in zip(clicks, (tumour, background), strict=True):
        for row, voxel in zip(rows, of_kind, strict=False):
            row[:] = voxel
    return clicks


class Predictor:
    """Records the clicks of each prediction; the mask is one of a list, the last one again and again."""

    def __init__(self, *masks):
        self.masks, self.seen = masks, []

    def __call__(self, placed):
        self.seen.append([voxels.tolist() for voxels in placed])
        return logits_of(self.masks[min(len(self.seen), len(self.masks)) - 1])


LATER = (FROM_ERROR,) * 3


def in_errors(clicks, predict, seed=0, **settings):
    chosen = ClickSettings(interactive=True, **settings)
    return place_in_errors(LABEL, clicks, chosen, predict=predict, rng=np.random.default_rng(seed))


def in_rounds(predict, seed=0, **settings):
    chosen = ClickSettings(interactive=True, **settings)
    return place_in_rounds(LABEL, chosen, predict=predict, rng=np.random.default_rng(seed))


def assert_in_errors(tumour, background):
    assert all(LABEL[tuple(voxel)] and not PREDICTED[tuple(voxel)] for voxel in tumour)
    assert all(PREDICTED[tuple(voxel)] and not LABEL[tuple(voxel)] for voxel in background)


def test_clicks_in_errors_follow_one_prediction_with_the_other_clicks():
    predict = Predictor(PREDICTED)
    clicks = clicks_of([(6, 5, 5), LATER, LATER], [LATER, LATER, LATER])
    tumour, background = in_errors(clicks, predict)
    assert predict.seen == [[[[6, 5, 5]], []]]
    assert tumour[0].tolist() == [6, 5, 5]
    assert (len(tumour), len(background)) == (3, 3)
    assert_in_errors(tumour[1:], background)


def test_crop_whose_clicks_are_all_placed_is_not_predicted():
    predict = Predictor(PREDICTED)
    tumour, background = in_errors(clicks_of([(6, 5, 5)], [(0, 0, 0), (1, 1, 1)]), predict)
    assert predict.seen == []
    assert (tumour.tolist(), background.tolist()) == ([[6, 5, 5]], [[0, 0, 0], [1, 1, 1]])


def test_right_prediction_gets_no_click():
    tumour, background = in_errors(clicks_of([LATER], [LATER]), Predictor(LABEL))
    assert (tumour.shape, background.shape) == ((0, 3), (0, 3))
    tumour, background = in_rounds(Predictor(LABEL), rounds=3)
    assert (tumour.shape, background.shape) == ((0, 3), (0, 3))


@pytest.mark.parametrize("place", ["errors", "rounds"])
def test_draw_by_distance_clicks_deeper_in_the_error(place):
    """The middle of a miss of 4 x 4 x 4 voxels has a distance of 2, with p ∝ exp(2) - 1 against exp(1) - 1."""

    def share_in_the_middle(draw):
        clicks = []
        for seed in range(30):
            if place == "errors":
                tumour, _ = in_errors(clicks_of([LATER] * 4), Predictor(PREDICTED), seed, draw=draw)
            else:
                tumour, _ = in_rounds(Predictor(PREDICTED), seed, draw=draw, rounds=4)
            clicks.extend(tumour)
        return np.mean([2 <= x <= 3 and 5 <= y <= 6 and 5 <= z <= 6 for x, y, z in clicks])

    assert share_in_the_middle("uniform") == pytest.approx(8 / 64, abs=0.08)
    deep = 8 * (np.exp(2) - 1)
    assert share_in_the_middle("distance") == pytest.approx(deep / (deep + 56 * (np.exp(1) - 1)), abs=0.08)


def test_each_round_predicts_with_all_clicks_and_adds_one_of_each_kind():
    predict = Predictor(PREDICTED)
    tumour, background = in_rounds(predict, rounds=3)
    assert [[len(of_kind) for of_kind in seen] for seen in predict.seen] == [[0, 0], [1, 1], [2, 2]]
    assert predict.seen[2] == [tumour[:2].tolist(), background[:2].tolist()]
    assert (len(tumour), len(background)) == (3, 3)
    assert_in_errors(tumour, background)


def test_rule_gets_the_dice_loss_of_the_last_prediction():
    """The first prediction has a Dice of 2·48 / (112 + 96) = 0.46, the second one is right."""
    predict = Predictor(PREDICTED, LABEL)
    assert len(in_rounds(predict, rounds=9, stop="dice")[0]) == 1
    assert len(predict.seen) == 2
    predict = Predictor(PREDICTED)
    in_rounds(predict, rounds=9, stop="dice", dice_threshold=0.55)
    assert len(predict.seen) == 1
    in_rounds(predict := Predictor(PREDICTED), rounds=5, stop="dice", dice_threshold=0.5)
    assert len(predict.seen) == 5


def rounds_of(count=100, **settings):
    """Return the number of predictions of many steps."""
    seen = []
    for seed in range(count):
        in_rounds(predict := Predictor(PREDICTED), seed, **settings)
        seen.append(len(predict.seen))
    return np.array(seen)


def test_probability_is_that_of_rule_and_of_strategy():
    assert np.mean(rounds_of(rounds=3, stop="probability", probability=0.9) == 3) == pytest.approx(0.729, abs=0.12)
    deepgrow = rounds_of(rounds=3, stop="deepgrow", probability=0.2)
    assert set(deepgrow) == {0, 3}
    assert np.mean(deepgrow == 3) == pytest.approx(0.2, abs=0.1)
    clicked = [
        len(in_rounds(Predictor(PREDICTED), seed, rounds=1, strategy="deepgrow", probability=0.2)[0])
        for seed in range(100)
    ]
    assert np.mean(clicked) == pytest.approx(0.2, abs=0.1)


def test_clicks_that_need_no_prediction_get_none():
    predict = Predictor(PREDICTED)
    tumour, background = in_rounds(predict, rounds=5, strategy="non-corrective")
    assert predict.seen == []
    assert all(LABEL[tuple(voxel)] for voxel in tumour)
    assert not any(LABEL[tuple(voxel)] for voxel in background)
    in_rounds(predict, rounds=5, strategy="non-corrective", stop="dice", dice_threshold=1.0)
    assert len(predict.seen) == 1  # this rule asks for the Dice loss


def test_input_is_the_image_with_a_disc_for_each_click():
    image = torch.rand((2, 1, *SHAPE))
    clicks = torch.from_numpy(np.stack([clicks_of([(6, 5, 5), (6, 5, 5)]), clicks_of()]))
    label = torch.stack([LABEL, LABEL])[:, None]
    how = {"encoding": DiscEncoding(), "settings": ClickSettings(interactive=True), "predict": None}
    guided = add_guidance(image, label, clicks, rng=np.random.default_rng(0), **how)
    assert guided.shape == (2, 3, *SHAPE)
    assert torch.equal(guided[:, :1], image)
    assert guided[0, 1].sum() == 33  # twice the same click is one
    assert guided[0, 1, 6, 5, 5] == 1
    assert not guided[0, 2].any()
    assert not guided[1, 1:].any()


def test_prediction_gets_the_guidance_of_its_round():
    """What a network would see: the image channel, then as many discs as there are clicks."""
    seen = []

    def predict(network_input):
        assert network_input.shape == (1, 3, *SHAPE)
        seen.append([bool(channel.any()) for channel in network_input[0, 1:]])
        return logits_of(PREDICTED)

    none = torch.empty((1, 2, 0, 3), dtype=torch.int64)
    settings = ClickSettings(interactive=True, rounds=2)
    how = {"encoding": DiscEncoding(), "settings": settings, "predict": predict, "rng": np.random.default_rng(0)}
    guided = add_guidance(torch.rand((1, 1, *SHAPE)), LABEL[None, None], none, **how)
    assert seen == [[False, False], [True, True]]
    assert guided[0, 1:].flatten(1).sum(1).min() > 20
