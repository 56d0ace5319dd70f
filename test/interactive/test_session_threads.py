"""Sessions and threads: settling in the background, and calls from several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from clicked_scans import GEOMETRIES, Convolution, dice, noise, random_clicks, tumour

from swfastedit_core import Ensemble, segment
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.clicks import Click
from swfastedit_core.interactive.session import Session

GRID = GEOMETRIES["the network's own"]
BALL = GradedBallEncoding(1)
SETTINGS = {"full_grid": True, "overlap": 0.5}


class Waits(Convolution):
    """Stops after some windows until it may go on."""

    def __init__(self, after=None):
        super().__init__(BALL)
        self.after, self.reached, self.go_on = after, threading.Event(), threading.Event()

    def __call__(self, windows):
        if self.windows == self.after:
            self.reached.set()
            assert self.go_on.wait(60)
        return super().__call__(windows)


def session_that_waits(after):
    network = Waits()
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)
    session.settle()
    session.add([tumour(9, 7, 8)])
    network.count()
    network.after = after
    return network, session


@pytest.mark.parametrize("action", ["add", "undo", "reset", "stop"])
def test_a_change_stops_the_settle_in_the_background_between_windows(action):
    network, session = session_that_waits(5)
    before = session.mask.array_zyx
    future = session.settle_in_background()
    assert network.reached.wait(60)
    if action == "add":
        session.add([tumour(3, 3, 3)])  # returns at once, though a window is running
    else:
        getattr(session, action)()
    network.go_on.set()
    update = future.result(60)
    assert (update.settled, update.windows, update.changed_box) == (False, 6, None)
    assert update.mask.array_zyx is before
    assert network.count() == 6


def test_windows_of_a_stopped_settle_are_not_lost():
    network, session = session_that_waits(5)
    future = session.settle_in_background()
    assert network.reached.wait(60)
    session.stop()
    network.go_on.set()
    future.result(60)
    assert session.settle().windows == 24 - 6
    expected = segment(noise(GRID), Ensemble([Convolution(BALL)]), clicks=[tumour(9, 7, 8)], **SETTINGS).mask
    assert dice(session.mask, expected) >= 0.999


@pytest.mark.parametrize("action", ["preview", "settle"])
def test_preview_and_settle_stop_it_as_well(action):
    network, session = session_that_waits(2)
    future = session.settle_in_background()
    assert network.reached.wait(60)
    with ThreadPoolExecutor() as pool:
        update = pool.submit(getattr(session, action))
        threading.Event().wait(0.05)
        assert not update.done()  # it waits for the window that is running
        network.go_on.set()
        assert not future.result(60).settled
        assert update.result(60).windows == {"preview": 1, "settle": 24 - 3}[action]


def test_settle_in_the_background_that_is_not_stopped_gives_the_exact_result():
    session = Session(Ensemble([Convolution(BALL)]), noise(GRID), **SETTINGS)
    session.add([tumour(9, 7, 8)])
    update = session.settle_in_background().result(60)
    assert update.settled
    assert session.mask is update.mask
    assert session.settle_in_background().result(60).windows == 0


def test_a_click_during_a_settle_in_the_foreground_leaves_it_unsettled():
    network, session = session_that_waits(5)
    with ThreadPoolExecutor() as pool:
        update = pool.submit(session.settle)
        assert network.reached.wait(60)
        session.add([tumour(3, 3, 3)])
        network.go_on.set()
        assert not update.result(60).settled
    expected = segment(noise(GRID), Ensemble([Convolution(BALL)]), clicks=[tumour(9, 7, 8)], **SETTINGS).mask
    assert dice(session.mask, expected) >= 0.999
    assert session.settle().settled


def test_two_threads_that_click_at_random_end_with_the_mask_of_a_full_run():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), **SETTINGS)

    def annotate(seed):
        rng = np.random.default_rng(seed)
        for _ in range(12):
            action = rng.choice(["add", "undo", "preview", "settle", "settle_in_background"])
            if action == "add":
                session.add(random_clicks(rng, GRID, 2))
            else:
                getattr(session, action)()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(annotate, seed) for seed in (1, 2)]:
            done.result(120)
    update = session.settle()
    clicks = [Click(kind, tuple(voxel)) for kind, voxels in session.clicks.items() for voxel in voxels.tolist()]
    expected = segment(noise(GRID), Ensemble([network]), clicks=clicks, **SETTINGS).mask
    assert update.settled
    assert dice(update.mask, expected) >= 0.999
