"""Sessions: the same result as a full run, and no window that it does not need."""

from __future__ import annotations

import warnings
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from clicked_scans import (
    ENCODINGS,
    GEOMETRIES,
    Convolution,
    background,
    dice,
    noise,
    random_clicks,
    tumour,
)

from swfastedit_core import Ensemble, Geometry, UserError, Volume, segment
from swfastedit_core.click_encodings import DiscEncoding, GradedBallEncoding
from swfastedit_core.errors import DataWarning
from swfastedit_core.inferer import infer
from swfastedit_core.interactive.session import Session

GRID = GEOMETRIES["the network's own"]
BALL = GradedBallEncoding(1)
SETTINGS = {"full_grid": True, "overlap": 0.5}


def session_of(*networks, scan=None, **options):
    return Session(Ensemble(networks), noise(GRID) if scan is None else scan, **{**SETTINGS, **options})


def random_session(rng, session, geometry, steps=5):
    """Add, undo and reset at random; return all clicks that are left, in the order of the prompts."""
    prompts = []
    for _ in range(steps):
        action = rng.choice(["add", "undo", "reset", "settle", "preview"], p=[0.45, 0.2, 0.05, 0.2, 0.1])
        if action == "add":
            prompts.append(random_clicks(rng, geometry, int(rng.integers(1, 4))))
            session.add(prompts[-1])
        elif action == "undo":
            assert session.undo() == bool(prompts)
            prompts = prompts[:-1]
        elif action == "reset":
            session.reset()
            prompts = []
        else:
            getattr(session, action)()
    return [click for prompt in prompts for click in prompt]


def assert_random_sequences_equal_full_runs(geometry, encoding, seeds):
    network = Convolution(encoding)
    networks, scan = Ensemble([network]), noise(geometry)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        session = Session(networks, scan, **SETTINGS)
        clicks = random_session(rng, session, geometry)
        before = session.mask.array_zyx.copy()
        update = session.settle()
        expected = segment(scan, networks, clicks=clicks, **SETTINGS).mask
        assert update.settled
        assert dice(update.mask, expected) >= 0.999
        assert 0.2 < update.mask.array_zyx.mean() < 0.8
        assert_changes_lie_in(update.changed_box, before, update.mask.array_zyx)
        (logits,) = session._networks
        exact = infer(logits._image, logits._plan, network, guidance=logits._guidance)
        largest = float(exact.abs().max())
        torch.testing.assert_close(logits._logits, exact, rtol=0, atol=2 * largest * 2**-11)
        fresh = Session(networks, scan, **SETTINGS)
        fresh.add(clicks)
        np.testing.assert_array_equal(fresh.settle().mask.array_zyx, update.mask.array_zyx)


def assert_changes_lie_in(box, before, after):
    changed = before != after
    if box is None:
        assert not changed.any()
        return
    x, y, z = box.slices
    inside = changed[z, y, x].sum()
    assert inside == changed.sum() > 0
    for axes in ((1, 2), (0, 2), (0, 1)):  # no smaller box holds them
        along = changed[z, y, x].any(axis=axes)
        assert along[0]
        assert along[-1]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_sequences_give_the_mask_of_a_full_run(geometry, encoding):
    assert_random_sequences_equal_full_runs(geometry, encoding, range(2))


@pytest.mark.long
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_two_hundred_random_sequences_give_the_mask_of_a_full_run(geometry, encoding):
    assert_random_sequences_equal_full_runs(geometry, encoding, range(100, 123))  # 9 times 23


def test_only_windows_that_hold_changed_guidance_run():
    network = Convolution(BALL)
    session = session_of(network)
    assert session.settle().windows == network.count() == 4 * 3 * 3
    session.add([tumour(17, 14, 0)])  # a corner of the file, voxel 0 of the network's grid along x and y
    assert session.settle().windows == network.count() == 1
    session.add([tumour(9, 7, 8)])  # and its six neighbours
    # Windows start at x 0, 4, 8, 10; y 0, 4, 7; z 0, 4, 8. Those at x 10, z 0 hold neither the click nor a neighbour.
    assert session.settle().windows == network.count() == 3 * 3 * 3 - 3
    assert session.settle().windows == network.count() == 0


def test_undo_and_reset_run_no_window():
    network = Convolution(BALL)
    session = session_of(network)
    masks = [session.settle().mask.array_zyx]
    for voxel in ((3, 3, 3), (9, 7, 8), (4, 3, 3)):
        session.add([tumour(*voxel)])
        masks.append(session.settle().mask.array_zyx)
    network.count()
    for expected in reversed(masks[:-1]):
        assert session.undo()
        np.testing.assert_array_equal(session.settle().mask.array_zyx, expected)
    assert not session.undo()
    session.add([tumour(3, 3, 3)])
    np.testing.assert_array_equal(session.settle().mask.array_zyx, masks[1])
    session.reset()
    np.testing.assert_array_equal(session.settle().mask.array_zyx, masks[0])
    assert network.count() == 0
    assert session.settle().changed_box is None


def test_a_click_far_away_that_shrinks_a_disc_runs_the_windows_of_both():
    grid = Geometry((40, 8, 8), (4.0, 4.0, 4.0))
    network = Convolution(DiscEncoding())
    session = session_of(network, scan=noise(grid), overlap=0.0)
    assert session.settle().windows == 5
    session.add([tumour(4, 4, 4)])
    assert session.settle().windows == 1
    session.add([tumour(36, 4, 4), tumour(37, 4, 4), tumour(36, 5, 4)])  # together brighter than one click
    assert session.settle().windows == 2
    session.add([background(20, 4, 4)])  # another channel
    assert session.settle().windows == 1


def test_prompt_is_taken_back_as_a_whole_and_equal_clicks_count_once():
    session = session_of(Convolution(BALL))
    session.add([tumour(1, 2, 3), tumour(1, 2, 3), background(4, 5, 6)])
    session.add([tumour(1, 2, 3), tumour(7, 7, 7)])
    found = {kind.value: voxels.tolist() for kind, voxels in session.clicks.items()}
    assert found == {"tumor": [[1, 2, 3], [7, 7, 7]], "background": [[4, 5, 6]]}
    assert session.undo()
    found = {kind.value: voxels.tolist() for kind, voxels in session.clicks.items()}
    assert found == {"tumor": [[1, 2, 3]], "background": [[4, 5, 6]]}


def test_click_outside_the_scan_is_an_error_and_changes_nothing():
    network = Convolution(BALL)
    session = session_of(network)
    session.add([tumour(3, 3, 3)])
    before = session.settle().mask.array_zyx
    network.count()
    with pytest.raises(UserError, match=r"the tumour click at voxel \(18, 3, 3\) lies outside the scan"):
        session.add([tumour(9, 7, 8), tumour(18, 3, 3)])
    assert session.settle().windows == network.count() == 0
    np.testing.assert_array_equal(session.mask.array_zyx, before)
    assert session.undo()
    assert not session.undo()


@pytest.mark.filterwarnings("ignore:clicks are not used by:swfastedit_core.errors.DataWarning")
def test_ensembles_give_the_mask_of_a_full_run():
    networks = [
        Convolution(BALL),
        Convolution(DiscEncoding(), seed=1, window=(12, 8, 10), spacing_mm=(4.4, 4.0, 5.0)),
        Convolution(BALL, seed=2, ct=True),
        Convolution(None, seed=3),  # takes no clicks
    ]
    ensemble, pet, ct = Ensemble(networks), noise(GRID), noise(GRID, 5)
    ct = Volume(1000 * ct.array_zyx, ct.geometry)
    clicks = [tumour(9, 7, 8), background(3, 3, 3)]
    for majority in (False, True):
        session = Session(ensemble, pet, ct=ct, majority=majority, **SETTINGS)
        session.settle()
        for network in networks:
            network.count()
        for click in clicks:
            session.add([click])
            session.preview()
            update = session.settle()
        assert networks[3].count() == 0
        assert all(network.count() > 0 for network in networks[:3])
        expected = segment(pet, ensemble, ct=ct, clicks=clicks, majority=majority, **SETTINGS).mask
        assert dice(update.mask, expected) >= 0.999
        assert update.mask.array_zyx.any()


def test_first_click_that_a_network_ignores_is_a_warning():
    session = session_of(Convolution(BALL), Convolution(None, seed=3))
    with pytest.warns(DataWarning, match=r"clicks are not used by 1 of 2 network\(s\): 3\.safetensors"):
        session.add([tumour(9, 7, 8)])
    session.add([tumour(3, 3, 3)])


def test_missing_ct_is_an_error():
    with pytest.raises(UserError, match="takes PET and CT, and no CT was given"):
        session_of(Convolution(BALL, ct=True))


def test_ct_that_covers_little_of_the_body_is_a_warning():
    suv = np.zeros((40, 15, 18), np.float32)
    suv[:, 2:13, 2:16] = 3.0
    pet = Volume(suv, Geometry((18, 15, 40), (4.0, 4.0, 4.0)))
    ct = Volume(np.zeros((10, 15, 18), np.float32), Geometry((18, 15, 10), (4.0, 4.0, 4.0)))
    with pytest.warns(DataWarning, match=r"the CT covers \d+ % of the body"):
        session_of(Convolution(BALL, ct=True), scan=pet, ct=ct)


class Overflows(Convolution):
    """A network whose float16 overflows where there is guidance."""

    precision = "float16"

    def __init__(self, exact):
        super().__init__(exact.config.clicks)
        self.exact = exact

    def __call__(self, windows):
        return super().__call__(windows) + torch.where(windows[:, 1].amax() > 0, torch.inf, 0.0)

    def in_float32(self):
        return self.exact


@pytest.mark.parametrize("action", ["settle", "preview"])
def test_float16_that_overflows_is_replaced_by_float32_for_the_whole_scan(action):
    exact = Convolution(BALL, seed=7)
    session = session_of(Overflows(exact))
    session.settle()
    session.add([tumour(9, 7, 8)])
    with pytest.warns(DataWarning, match=r"float16 overflowed, so the scan was repeated in float32"):
        getattr(session, action)()
    update = session.settle()
    expected = segment(noise(GRID), Ensemble([exact]), clicks=[tumour(9, 7, 8)], **SETTINGS).mask
    assert dice(update.mask, expected) >= 0.999


def test_overflow_in_a_precision_that_the_user_chose_is_an_error_and_undo_helps():
    session = session_of(Overflows(Convolution(BALL)))
    before = session.settle().mask.array_zyx
    session._networks[0]._engine.exact = None
    session.add([tumour(9, 7, 8)])
    for action in (session.settle, session.preview, session.settle_in_background().result):
        with pytest.raises(UserError, match=r"output is not finite in float16; use --precision float32"):
            action()
    session.undo()
    np.testing.assert_array_equal(session.settle().mask.array_zyx, before)


def test_logits_beyond_half_precision_keep_their_sign():
    network = Convolution(BALL)
    network.weights *= 1e6
    session = session_of(network)
    session.add([tumour(9, 7, 8)])
    update = session.settle()
    assert update.mask.array_zyx.any()
    assert torch.isfinite(session._networks[0]._logits).all()


def test_uniform_scan_has_no_windows():
    network = Convolution(BALL)
    session = Session(Ensemble([network]), Volume(np.ones(GRID.shape_zyx, np.float32), GRID))
    with pytest.warns(DataWarning, match="lie outside the windows"):
        session.add([tumour(9, 7, 8)])
    for update in (session.preview(), session.settle()):
        assert (update.windows, update.changed_box, update.settled) == (0, None, True)
        assert update.mask.array_zyx.shape == GRID.shape_zyx
        assert not update.mask.array_zyx.any()
        assert [voxels.tolist() for voxels in update.outside.values()] == [[[9, 7, 8]], []]
    assert network.windows == 0


def test_scan_smaller_than_a_window():
    grid = Geometry((5, 6, 20), (4.0, 4.0, 4.0), direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    network, scan = Convolution(BALL), noise(grid)
    session = session_of(network, scan=scan)
    session.settle()
    session.add([tumour(4, 0, 1)])
    preview = session.preview()
    assert preview.windows == 1
    update = session.settle()
    expected = segment(scan, Ensemble([network]), clicks=[tumour(4, 0, 1)], **SETTINGS).mask
    np.testing.assert_array_equal(update.mask.array_zyx, expected.array_zyx)
    assert 0 < update.mask.array_zyx.sum() < update.mask.array_zyx.size


def test_no_lesion():
    network = Convolution(BALL)
    network.weights = -network.weights.abs()
    session = session_of(network)
    session.add([tumour(9, 7, 8)])
    update = session.settle()
    assert (update.mask.array_zyx.any(), update.changed_box, update.windows) == (False, None, 36)


def test_small_components_are_removed_as_in_a_full_run():
    network, scan = Convolution(BALL), noise(GRID)
    options = {**SETTINGS, "min_lesion_ml": 0.3}  # five voxels
    session = Session(Ensemble([network]), scan, **options)
    before = session.settle().mask.array_zyx
    session.add([background(9, 7, 8)])
    update = session.settle()
    expected = segment(scan, Ensemble([network]), clicks=[background(9, 7, 8)], **options).mask.array_zyx
    np.testing.assert_array_equal(update.mask.array_zyx, expected)
    every = segment(scan, Ensemble([network]), clicks=[background(9, 7, 8)], **SETTINGS).mask.array_zyx
    assert (expected != every).any()
    assert_changes_lie_in(update.changed_box, before, expected)


def test_click_outside_the_windows_of_the_body_has_no_effect_and_is_named():
    grid = Geometry((60, 60, 40), (4.0, 4.0, 4.0))
    suv = np.zeros(grid.shape_zyx, np.float32)
    suv[:, 4:16, 4:16] = 1.0
    network, scan = Convolution(BALL), Volume(suv, grid)
    session = Session(Ensemble([network]), scan)
    session.settle()
    network.count()
    named = r"1 click\(s\) lie outside the windows, .*: tumour at voxel \(55, 50, 20\); to cover .* use --region full"
    with pytest.warns(DataWarning, match=named):
        session.add([tumour(10, 10, 20), tumour(55, 50, 20)])
    for update in (session.preview(), session.settle()):
        assert [voxels.tolist() for voxels in update.outside.values()] == [[[55, 50, 20]], []]
    session.undo()
    automatic = session.settle().mask.array_zyx
    network.count()
    with pytest.warns(DataWarning, match=named):
        session.add([tumour(55, 50, 20)])
    assert session.settle().windows == network.count() == 0
    with pytest.warns(DataWarning, match=named):
        result = segment(scan, Ensemble([network]), clicks=[tumour(55, 50, 20)])
    np.testing.assert_array_equal(result.mask.array_zyx, automatic)


def test_warning_of_clicks_outside_the_windows_names_three_of_them():
    grid = Geometry((60, 60, 40), (4.0, 4.0, 4.0))
    suv = np.zeros(grid.shape_zyx, np.float32)
    suv[:, 4:16, 4:16] = 1.0
    networks = Ensemble([Convolution(BALL), Convolution(None, seed=1), Convolution(BALL, seed=2)])
    scribble = [background(50, 50, z) for z in range(5)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segment(Volume(suv, grid), networks, clicks=scribble)
    (text,) = [text for one in caught if "outside" in (text := str(one.message))]
    assert text.startswith("5 click(s) lie outside")
    assert "(50, 50, 2) and 2 more; to" in text
    assert "(50, 50, 3)" not in text


def test_update_is_not_changed_by_later_updates():
    session = session_of(Convolution(BALL))
    first = session.settle()
    kept = first.mask.array_zyx.copy()
    session.add([tumour(9, 7, 8)])
    second = session.settle()
    np.testing.assert_array_equal(first.mask.array_zyx, kept)
    assert (second.mask.array_zyx != kept).any()
    assert session.mask is second.mask
    assert session.changed_box == second.changed_box


def test_error_of_a_network_reaches_the_caller_and_the_session_goes_on():
    class Breaks(Convolution):
        broken = False

        def __call__(self, windows):
            if self.broken and self.windows == 10:
                raise ValueError("broken network")
            return super().__call__(windows)

    network = Breaks(BALL)
    session = session_of(network)
    session.settle()
    session.add([tumour(9, 7, 8)])
    network.count()
    network.broken = True
    future = session.settle_in_background()
    assert isinstance(future, Future)
    with pytest.raises(ValueError, match="broken network"):
        future.result(60)
    network.broken = False
    assert session.settle().windows == 24 - 10
    expected = segment(noise(GRID), Ensemble([network]), clicks=[tumour(9, 7, 8)], **SETTINGS).mask
    assert dice(session.mask, expected) >= 0.999


@pytest.mark.filterwarnings("ignore:clicks are not used by:swfastedit_core.errors.DataWarning")
def test_progress_counts_the_windows_that_run():
    seen = []
    session = session_of(Convolution(BALL), Convolution(None, seed=1))
    session.settle(lambda *counts: seen.append(counts))
    assert seen == [(count, 72) for count in range(1, 73)]
    session.add([tumour(9, 7, 8)])
    seen.clear()
    session.settle_in_background(lambda *counts: seen.append(counts)).result(60)
    assert seen == [(count, 24) for count in range(1, 25)]
