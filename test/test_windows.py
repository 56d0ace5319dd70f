from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swfastedit_core.body import Body
from swfastedit_core.box import Box
from swfastedit_core.errors import UserError
from swfastedit_core.windows import WindowPlan, plan_windows


def body_of(array, shape=None):
    cells = np.asarray(array, bool)
    return Body(cells, (1, 1, 1), (0, 0, 0), shape or cells.shape)


def covered(plan):
    """Mark the voxels of the image that a window sees."""
    seen = np.zeros(plan.image, bool)
    for box in plan.boxes:
        seen[box.clipped(Box.whole(plan.image)).slices] = True
    return seen


def test_windows_of_a_small_grid_by_hand():
    plan = plan_windows((8, 4, 11), window=(4, 4, 4), overlap=0.5)
    assert sorted({x for x, _, _ in plan.starts}) == [0, 2, 4]
    assert sorted({y for _, y, _ in plan.starts}) == [0]
    assert sorted({z for _, _, z in plan.starts}) == [0, 2, 4, 6, 7]
    assert len(plan.starts) == 15
    assert plan.region == Box((0, 0, 0), (8, 4, 11))


def test_windows_lie_around_a_small_image():
    plan = plan_windows((3, 4, 9), window=(6, 4, 4), overlap=0.0)
    assert plan.starts == ((-1, 0, 0), (-1, 0, 4), (-1, 0, 5))
    assert plan.boxes[0] == Box((-1, 0, 0), (5, 4, 4))
    assert plan.region == Box((0, 0, 0), (3, 4, 9))


def test_plan_without_windows_has_no_region():
    assert WindowPlan((3, 4, 9), (6, 4, 4), ()).region.shape == (0, 0, 0)


def test_body_plan_follows_a_leaning_patient():
    cells = np.zeros((20, 8, 16), bool)
    cells[2:6, 2:6, 0:8] = True
    cells[14:18, 2:6, 8:16] = True
    plan = plan_windows((20, 8, 16), window=(4, 4, 8), overlap=0.0, body=body_of(cells))
    assert plan.starts == ((2, 2, 0), (14, 2, 8))
    assert plan.region == Box((2, 2, 0), (18, 6, 16))


def test_body_smaller_than_a_window_is_centred_and_stays_in_the_image():
    cells = np.zeros((20, 20, 20), bool)
    cells[0, 10, 19] = True
    plan = plan_windows((20, 20, 20), window=(8, 8, 8), overlap=0.75, body=body_of(cells))
    assert plan.starts == ((0, 7, 12),)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5, float("nan")])
def test_overlap_out_of_range_is_refused(overlap):
    with pytest.raises(UserError, match=r"overlap .*, expected 0 or more and less than 1"):
        plan_windows((8, 8, 8), window=(4, 4, 4), overlap=overlap)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    window=st.tuples(*[st.integers(1, 12)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]),
    seed=st.integers(0, 10_000),
)
def test_every_voxel_of_the_body_is_seen_and_no_window_leaves_the_image(shape, window, overlap, seed):
    rng = np.random.default_rng(seed)
    cell, margin = tuple(rng.integers(1, 6, 3)), tuple(rng.integers(0, 5, 3))
    cells = rng.random([-(-side // c) for side, c in zip(shape, cell, strict=True)]) < rng.choice([0.002, 0.05, 0.5])
    cells[tuple(rng.integers(cells.shape))] = True
    plan = plan_windows(shape, window=window, overlap=overlap, body=Body(cells, cell, margin, shape))
    seen = covered(plan)
    voxels = np.kron(cells, np.ones(cell, bool))[tuple(slice(side) for side in shape)]
    assert seen[voxels].all()
    assert seen.sum() <= np.prod(plan.region.shape)
    assert len(set(plan.starts)) == len(plan.starts)
    for box in plan.boxes:
        for a, b, w, n in zip(box.start, box.stop, window, shape, strict=True):
            assert (a >= 0 and b <= n) if n >= w else (a, b) == (-((w - n) // 2), w - (w - n) // 2)
    full = plan_windows(shape, window=window, overlap=overlap)
    assert covered(full).all()
