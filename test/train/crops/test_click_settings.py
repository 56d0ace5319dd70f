"""The clicks that come with a crop: how many, of which kind, where."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from swfastedit_core import UserError
from swfastedit_core.checkpoint import Channels
from swfastedit_core.click_encodings import DiscEncoding
from swfastedit_core.interactive.simulate.click_numbers import click_number_probabilities
from swfastedit_core.train.crops.click_settings import FROM_ERROR, NO_CLICK, ClickSettings, sample_clicks

LABEL = np.zeros((12, 10, 8), np.uint8)
LABEL[3:8, 3:8, 3:6] = 1
IMAGE = np.random.default_rng(0).random((1, *LABEL.shape), dtype=np.float32)


def sampled(count=1, seed=0, **settings):
    rng = np.random.default_rng(seed)
    chosen = ClickSettings(interactive=True, **settings)
    return [sample_clicks(IMAGE, LABEL, rng, chosen) for _ in range(count)]


def numbers(clicks):
    """Return the number of clicks of each kind, those in errors included."""
    return (clicks != NO_CLICK).all(axis=-1).sum(axis=-1)


def test_share_of_crops_without_any_click():
    """A fifth by request; of the others those where both numbers are 0."""
    found = sum(not numbers(clicks).any() for clicks in sampled(400))
    none = click_number_probabilities()[0] ** 2
    assert binomtest(found, 400, 0.2 + 0.8 * none).pvalue > 0.01
    assert binomtest(sum(not numbers(clicks).any() for clicks in sampled(300, without=0.0)), 300, none).pvalue > 0.01


def test_numbers_of_tumour_clicks_are_those_of_the_winner_of_autopet_4():
    counts = np.bincount([numbers(clicks)[0] for clicks in sampled(500, without=0.0, most=4)], minlength=5)
    assert chisquare(counts, 500 * click_number_probabilities(4)).pvalue > 0.01


def test_clicks_lie_in_their_class_or_wait_for_an_error():
    waiting = 0
    for clicks in sampled(60, from_errors=0.5):
        assert clicks.shape == (2, 10, 3)
        for rows, kind in zip(clicks, (1, 0), strict=True):
            voxels = rows[(rows >= 0).all(axis=1)]
            assert (LABEL[tuple(voxels.T)] == kind).all()
            later = (rows == FROM_ERROR).all(axis=1)
            waiting += later.sum()
            assert not later[: len(voxels)].any()
    assert waiting > 40
    assert not any((clicks == FROM_ERROR).any() for clicks in sampled(50, from_errors=0.0))


@pytest.mark.parametrize("settings", [ClickSettings(), ClickSettings(interactive=True, rounds=10)])
def test_automatic_networks_and_rounds_get_no_clicks_with_the_crop(settings):
    assert sample_clicks(IMAGE, LABEL, np.random.default_rng(0), settings).shape == (2, 0, 3)


def test_settings_give_channels_and_encoding_of_the_header():
    chosen = ClickSettings(interactive=True, encoding="disc")
    assert (chosen.channels(Channels.PET_CT), chosen.click_encoding()) == (Channels.PET_CT_CLICKS, DiscEncoding())
    assert (ClickSettings().channels(Channels.PET), ClickSettings().click_encoding()) == (Channels.PET, None)


@pytest.mark.parametrize("settings", [{"without": 1.0}, {"probability": 0.0}, {"rounds": -1}, {"most": 0}])
def test_settings_without_any_click_are_refused(settings):
    with pytest.raises(UserError):
        ClickSettings(interactive=True, **settings)
