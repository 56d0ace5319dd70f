"""Sessions and memory: limits, and which logits and which sessions are dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clicked_scans import GEOMETRIES, Convolution, noise, tumour

from swfastedit_core import Ensemble
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.interactive.session import Session
from swfastedit_core.interactive.sessions import Sessions
from swfastedit_core.interactive.window_cache import WindowCache, WindowKey

GRID = GEOMETRIES["the network's own"]
BALL = GradedBallEncoding(1)
SETTINGS = {"full_grid": True, "overlap": 0.5}
VOXELS = 18 * 15 * 16
KEPT_BYTES = (4 + 4 + 1 + 1) * VOXELS  # network input and logits as float32, votes and mask
WINDOW_BYTES = 2 * 8**3


def key(window):
    return WindowKey(0, window, b"")


def half(value=0.0):
    return torch.full((8, 8, 8), value, dtype=torch.float16)


def test_least_recently_used_logits_are_dropped():
    cache = WindowCache(3 * WINDOW_BYTES + 1)
    for window in range(3):
        cache.put(key(window), half(window))
    assert cache.get(key(0)).flatten()[0] == 0  # used again
    cache.put(key(3), half(3.0))
    assert [window for window in range(4) if key(window) in cache] == [0, 2, 3]
    assert cache.used_bytes == 3 * WINDOW_BYTES
    cache.put(key(3), half(4.0))  # replaces
    assert cache.used_bytes == 3 * WINDOW_BYTES
    assert cache.get(key(3)).flatten()[0] == 4
    cache.limit(WINDOW_BYTES)
    assert [window for window in range(4) if key(window) in cache] == [3]
    cache.limit(WINDOW_BYTES - 1)
    assert (len(cache), cache.used_bytes) == (0, 0)


def test_logits_that_are_needed_are_not_dropped_for_others():
    cache = WindowCache(2 * WINDOW_BYTES)
    cache.put(key(0), half())
    cache.put(key(1), half())
    cache.put(key(2), half(), needed={key(0), key(2)})
    assert [window for window in range(3) if key(window) in cache] == [0, 2]
    cache.put(key(3), half(), needed={key(0), key(2), key(3)})
    assert [window for window in range(4) if key(window) in cache] == [0, 2]


def test_logits_of_one_network_are_discarded():
    cache = WindowCache(10 * WINDOW_BYTES)
    cache.put(key(0), half())
    cache.put(WindowKey(1, 0, b""), half())
    cache.discard(0)
    assert key(0) not in cache
    assert WindowKey(1, 0, b"") in cache
    assert cache.used_bytes == WINDOW_BYTES


@pytest.mark.parametrize("windows", [0, 1, 20, 40, 1000])
def test_memory_stays_below_the_limit_and_does_not_change_the_result(windows):
    limit = KEPT_BYTES + windows * WINDOW_BYTES
    networks, scan = Ensemble([Convolution(BALL)]), noise(GRID)
    session = Session(networks, scan, memory_mb=limit / 1e6, **SETTINGS)
    free = Session(networks, scan, **SETTINGS)
    for voxel in ((9, 7, 8), (3, 3, 3), None, (9, 8, 8)):
        for one in (session, free):
            if voxel is None:
                one.undo()
            else:
                one.add([tumour(*voxel)])
        session.preview()
        patch = 4 * 8**3  # what a preview shows is kept in any case
        assert session.used_bytes <= max(limit, KEPT_BYTES + patch)
        np.testing.assert_array_equal(session.settle().mask.array_zyx, free.settle().mask.array_zyx)
        assert session.used_bytes <= limit
    assert session.used_bytes >= KEPT_BYTES + min(windows - 2, 36) * WINDOW_BYTES  # the last patch took two


def test_memory_that_is_counted_is_the_memory_of_the_tensors():
    session = Session(Ensemble([Convolution(BALL)]), noise(GRID), **SETTINGS)
    session.settle()
    (logits,) = session._networks
    tensors = [logits._image, logits._logits, *session._cache._kept.values()]
    arrays = [session._mask._voted, session.mask.array_zyx]
    counted = sum(tensor.untyped_storage().nbytes() for tensor in tensors) + sum(array.nbytes for array in arrays)
    assert session.used_bytes == counted == KEPT_BYTES + 36 * WINDOW_BYTES


def test_without_memory_for_the_logits_a_click_is_a_full_run_of_its_surroundings():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), noise(GRID), memory_mb=0, **SETTINGS)
    assert session.settle().windows == 36
    session.add([tumour(9, 7, 8)])
    assert session.settle().windows == 36  # all overlap the region of the 24
    session.undo()
    assert session.settle().windows == 36


def make(seed, networks, made):
    def session():
        made.append(seed)
        return Session(networks, noise(GRID, seed), **SETTINGS)

    return session


def test_sessions_are_kept_and_the_least_recently_used_ones_are_dropped():
    networks, made = Ensemble([Convolution(BALL)]), []
    both = 2 * (KEPT_BYTES + 2 * 36 * WINDOW_BYTES)
    sessions = Sessions(both / 1e6)
    first = sessions.get("a", make(1, networks, made))
    first.settle()
    assert sessions.get("b", make(2, networks, made)).settle().windows == 36
    assert sessions.get("a", make(1, networks, made)) is first
    assert first.settle().windows == 0
    third = sessions.get("c", make(3, networks, made))
    third.settle()
    assert (len(sessions), made) == (2, [1, 2, 3])
    assert sessions.used_bytes <= both
    assert sessions.get("a", make(1, networks, made)) is first
    assert sessions.get("b", make(2, networks, made)).used_bytes <= both
    assert made == [1, 2, 3, 2]


def test_memory_of_all_sessions_stays_below_one_limit():
    networks, made, rng = Ensemble([Convolution(BALL)]), [], np.random.default_rng(0)
    limit = 2 * KEPT_BYTES + 100 * WINDOW_BYTES
    sessions = Sessions(limit / 1e6)
    for _ in range(30):
        name = int(rng.integers(3))
        session = sessions.get(name, make(name, networks, made))
        assert sessions.used_bytes <= limit
        session.add([tumour(*rng.integers(15, size=3).tolist())])
        session.settle()
        assert sessions.used_bytes <= limit
    assert len(made) > 3  # some were dropped


def test_logits_of_an_old_session_are_dropped_before_the_session():
    networks, made = Ensemble([Convolution(BALL)]), []
    sessions = Sessions((2 * KEPT_BYTES + 150 * WINDOW_BYTES) / 1e6)
    old = sessions.get("old", make(1, networks, made))
    for x in range(2, 16, 3):
        old.add([tumour(x, 7, 8)])
        old.settle()
    assert old.used_bytes > KEPT_BYTES + 90 * WINDOW_BYTES
    new = sessions.get("new", make(2, networks, made))
    assert old.used_bytes <= KEPT_BYTES + 72 * WINDOW_BYTES
    assert new.settle().windows == 36
    assert len(sessions) == 2


def test_a_session_larger_than_the_limit_is_used_without_logits():
    networks, made = Ensemble([Convolution(BALL)]), []
    sessions = Sessions(0.001)
    for name in (1, 2):
        assert sessions.get(name, make(name, networks, made)).settle().windows == 36
        assert len(sessions) == 1


def test_dropped_session_stops_in_the_background_and_keeps_no_logits():
    networks, made = Ensemble([Convolution(BALL)]), []
    sessions = Sessions()
    session = sessions.get("a", make(1, networks, made))
    session.settle()
    sessions.drop("a")
    sessions.drop("a")
    assert (len(sessions), session.used_bytes) == (0, KEPT_BYTES)
    assert session.settle().settled
