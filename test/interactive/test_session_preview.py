"""Previews: one window for each network, and what they show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clicked_scans import GEOMETRIES, Convolution, noise, tumour

from swfastedit_core import Ensemble, segment
from swfastedit_core.box import Box
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.interactive.preview import mix, nearest_window, taper
from swfastedit_core.interactive.session import Session
from swfastedit_core.windows import WindowPlan, plan_windows

GRID = GEOMETRIES["the network's own"]
BALL = GradedBallEncoding(1)
SETTINGS = {"full_grid": True, "overlap": 0.5}


@pytest.mark.filterwarnings("ignore:clicks are not used by:swfastedit_core.errors.DataWarning")
def test_preview_runs_one_window_of_each_network_that_takes_clicks():
    networks = [Convolution(BALL), Convolution(BALL, seed=1, window=(12, 8, 8)), Convolution(None, seed=2)]
    session = Session(Ensemble(networks), noise(GRID), **SETTINGS)
    before = session.settle().mask.array_zyx
    assert [network.count() for network in networks] == [36, 2 * 3 * 3, 36]
    session.add([tumour(9, 7, 8)])
    update = session.preview()
    assert (update.windows, update.settled) == (2, False)
    assert [network.count() for network in networks] == [1, 1, 0]
    assert (update.mask.array_zyx != before).any()
    x, y, z = update.changed_box.slices
    assert (update.mask.array_zyx != before)[z, y, x].sum() == (update.mask.array_zyx != before).sum()
    session.settle()
    assert networks[0].count() == 24 - 1  # the preview's window is one of the plan's


@pytest.mark.filterwarnings("ignore:clicks are not used by:swfastedit_core.errors.DataWarning")
def test_preview_before_the_first_settle_runs_one_window_of_every_network():
    networks = [Convolution(BALL), Convolution(None, seed=2)]
    session = Session(Ensemble(networks), noise(GRID), **SETTINGS)
    session.add([tumour(9, 7, 8)])
    update = session.preview()
    assert [network.count() for network in networks] == [1, 1]
    assert update.mask.array_zyx.any()
    expected = segment(noise(GRID), Ensemble(networks), clicks=[tumour(9, 7, 8)], **SETTINGS).mask.array_zyx
    np.testing.assert_array_equal(session.settle().mask.array_zyx, expected)


def test_preview_without_new_clicks_changes_nothing():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    session.settle()
    session.add([tumour(9, 7, 8)])
    first = session.preview()
    network.count()
    again = session.preview()
    assert (again.windows, again.changed_box, again.settled) == (0, None, False)
    np.testing.assert_array_equal(again.mask.array_zyx, first.mask.array_zyx)


def test_preview_after_undo_is_exact_and_runs_no_window():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    before = session.settle().mask.array_zyx
    session.add([tumour(9, 7, 8)])
    session.preview()
    session.undo()
    network.count()
    update = session.preview()
    assert (update.settled, network.count()) == (True, 0)
    np.testing.assert_array_equal(update.mask.array_zyx, before)


def test_preview_in_the_only_window_of_a_click_is_exact():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    session.settle()
    session.add([tumour(17, 14, 0)])
    update = session.preview()
    assert (update.windows, update.settled) == (1, True)


def test_later_previews_keep_what_earlier_ones_showed():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    before = session.settle().mask.array_zyx
    session.add([tumour(3, 3, 4)])
    first = session.preview()
    session.add([tumour(14, 11, 12)])
    second = session.preview()
    x, y, z = first.changed_box.slices
    np.testing.assert_array_equal(second.mask.array_zyx[z, y, x], first.mask.array_zyx[z, y, x])
    assert (first.mask.array_zyx != before).any()
    assert second.changed_box is not None


def test_clicks_outside_the_window_of_a_preview_are_named():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    session.settle()
    session.add([tumour(2, 2, 2), tumour(3, 3, 3), tumour(16, 13, 14)])
    update = session.preview()
    assert [voxels.tolist() for voxels in update.outside.values()] == [[[16, 13, 14]], []]
    assert update.windows == 1
    assert [len(voxels) for voxels in session.settle().outside.values()] == [0, 0]


def test_preview_at_the_click_equals_the_settled_mask_if_the_clicks_effect_is_local():
    network = Convolution(BALL)  # the effect of a click ends three voxels away
    session = Session(Ensemble([network]), noise(GRID), full_grid=True, overlap=0.75)
    session.settle()
    session.add([tumour(9, 7, 8)])
    preview = session.preview()
    settled = session.settle()
    near = (slice(7, 10), slice(6, 9), slice(8, 11))
    np.testing.assert_array_equal(preview.mask.array_zyx[near], settled.mask.array_zyx[near])


def test_window_with_most_clicks_and_of_these_the_nearest():
    plan = plan_windows((16, 4, 4), window=(4, 4, 4), overlap=0.5)  # starts 0, 2, 4 … 12
    assert nearest_window(plan, np.array([[5, 0, 0]])) == 2  # x 4 to 7: its centre is 5.5
    assert nearest_window(plan, np.array([[0, 0, 0], [15, 3, 3], [14, 0, 0]])) == 6
    assert nearest_window(plan, np.array([[3, 0, 0], [6, 0, 0]])) == 1  # x 2 to 5 holds only the first, as others do
    assert nearest_window(plan, np.empty((0, 3), np.int64)) is None
    assert nearest_window(WindowPlan((8, 8, 8), (4, 4, 4), ((0, 0, 0),)), np.array([[6, 0, 0]])) is None
    assert nearest_window(WindowPlan((8, 8, 8), (4, 4, 4), ()), np.array([[6, 0, 0]])) is None


def test_weights_are_one_in_the_inner_half_and_fall_to_the_faces_except_at_the_regions():
    weights = taper(Box((0, 0, 0), (8, 8, 8)), Box((-8, 0, 0), (16, 8, 16)), np.array([[4, 4, 4]]))
    ramp = [0.095492, 0.793893, 1.0, 1.0, 1.0, 1.0, 0.793893, 0.095492]
    # voxel 0 is 3.5 of 4 from the middle, 0.75 of the way from 0.5 to 1: (1 + cos(0.75 π)) / 2 = 0.1464
    ramp[0] = ramp[7] = 0.146447
    ramp[1] = ramp[6] = 0.853553
    assert weights[:, 4, 4].tolist() == pytest.approx(ramp, abs=1e-5)
    assert weights[4, :, 4].tolist() == [1.0] * 8  # a face of the region on both sides
    assert weights[4, 4, :].tolist() == pytest.approx([1.0] * 4 + ramp[4:], abs=1e-5)


def test_weights_are_one_as_far_as_there_are_clicks():
    weights = taper(Box((0, 0, 0), (8, 8, 8)), Box((-8, -8, -8), (16, 16, 16)), np.array([[0, 4, 4], [4, 6, 4]]))
    assert weights[0, 4, 4] == 1
    assert weights[4, 6, 4] == 1
    assert weights[4, 7, 4] < 1
    assert weights[7, 4, 4] < 0.2


def test_mixture_takes_the_preview_where_nothing_was_computed():
    mixed = mix(torch.tensor([1.0, 1.0, -30.0]), torch.tensor([3.0, 3.0, 3.0]), torch.tensor([0.0, 0.5, 0.0]))
    assert mixed.tolist() == [1.0, 2.0, 3.0]
