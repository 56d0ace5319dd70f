from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swfastedit_core.box import Box
from swfastedit_core.errors import UserError
from swfastedit_core.phantom import Scanner, make_phantom
from swfastedit_core.volume import Geometry
from swfastedit_core.windows import Body, WindowPlan, find_body, mean_cells, plan_windows

SPACING_MM = (6.0, 6.0, 6.0)
WHOLE = Geometry((120, 90, 200), SPACING_MM, (-357.0, -267.0, -1150.0))
HEAD = Geometry((120, 90, 40), SPACING_MM, (-357.0, -267.0, -200.0))
LEGS = Geometry((120, 90, 60), SPACING_MM, (-357.0, -267.0, -1600.0))
QUIET, NOISY = Scanner(noise=0.0), Scanner(noise=0.45)
ARMS_UP, ARMS_DOWN = 3, 2


def body_of(array, shape=None):
    cells = np.asarray(array, bool)
    return Body(cells, (1, 1, 1), (0, 0, 0), shape or cells.shape)


@lru_cache
def drawn(seed, geometry, scanner):
    """Make each phantom once for all tests."""
    return make_phantom(seed, geometry=geometry, scanner=scanner).pet.array_zyx


def suv_of(seed, *, geometry, scanner):
    """Return a phantom as a tensor [X, Y, Z] of the caller's own; axes need no turning, the grid is axis-aligned."""
    return (
        torch.from_numpy(drawn(seed, geometry, scanner)).permute(2, 1, 0).clone(memory_format=torch.contiguous_format)
    )


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


def plan_over(suv, body):
    return plan_windows(tuple(suv.shape), window=(32, 32, 32), overlap=0.75, body=body)


def share_missed(plan, truth):
    """Return the share of the patient's voxels that no window sees."""
    return 1 - covered(plan)[truth.numpy()].mean()


@pytest.mark.parametrize("seed", [ARMS_UP, ARMS_DOWN])
@pytest.mark.parametrize("geometry", [WHOLE, HEAD, LEGS], ids=["whole", "head only", "legs only"])
def test_whole_patient_is_covered_with_fewer_windows_whatever_the_noise(seed, geometry):
    truth = suv_of(seed, geometry=geometry, scanner=QUIET) > 0.2
    assert truth.sum() > 1000
    for scanner in (QUIET, NOISY):
        suv = suv_of(seed, geometry=geometry, scanner=scanner)
        plan = plan_over(suv, find_body(mean_cells(suv, SPACING_MM)))
        assert share_missed(plan, truth) < 1e-3
        full = plan_over(suv, None)
        assert len(plan.starts) < 0.65 * len(full.starts)


def test_table_and_room_do_not_enlarge_the_region():
    suv = suv_of(ARMS_UP, geometry=WHOLE, scanner=NOISY)
    before = find_body(mean_cells(suv, SPACING_MM))
    suv[:, 80:83] += 0.04  # a table under the patient
    suv += 0.01  # scatter everywhere
    after = find_body(mean_cells(suv, SPACING_MM))
    assert after.box(0, 200) == before.box(0, 200)


def test_small_hot_spot_apart_from_the_body_is_kept():
    suv = torch.zeros(60, 60, 60)
    suv[20:40, 20:40, :] = 1.0
    suv[52:54, 30:32, 30:32] = 20.0  # a lesion in a hand
    body = find_body(mean_cells(suv, SPACING_MM))
    assert body.box(0, 60).stop[0] >= 54


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1e4])
def test_scan_in_other_units_is_covered(scale):
    suv = suv_of(ARMS_UP, geometry=WHOLE, scanner=QUIET)
    assert share_missed(plan_over(suv, find_body(mean_cells(suv * scale, SPACING_MM))), suv > 0.2) < 1e-3


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_no_body_means_the_whole_volume(value):
    suv = torch.full((40, 40, 40), value)
    assert find_body(mean_cells(suv, SPACING_MM)) is None
    plan = plan_windows((40, 40, 40), window=(32, 32, 32), overlap=0.75, body=find_body(mean_cells(suv, SPACING_MM)))
    assert covered(plan).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 2), (3, 3, 3)])
def test_tiny_volumes_have_a_plan(shape):
    body = find_body(mean_cells(torch.ones(shape), SPACING_MM))
    plan = plan_windows(shape, window=(32, 32, 32), overlap=0.75, body=body)
    assert covered(plan).all()


def test_box_of_part_of_the_body_by_hand():
    cells = np.zeros((5, 5, 5), bool)
    cells[1, 2, 3] = cells[4, 4, 4] = True
    body = Body(cells, (4, 4, 4), (1, 2, 3), (18, 18, 18))
    assert body.box(0, 12) is None
    assert body.box(9, 13) == Box((3, 6, 9), (9, 14, 18))  # the cell at 12 to 16 and 3 voxels around it
    assert body.box(0, 18) == Box((3, 6, 9), (18, 18, 18))


def test_body_in_fine_voxels_is_the_block_and_a_margin_of_8_mm():
    suv = torch.zeros(100, 90, 61)
    suv[40:60, 30:50, 20:41] = 1.0
    body = find_body(mean_cells(suv, (2.0, 2.0, 3.0)))
    assert body.cell == (4, 4, 3)
    assert body.margin == (4, 4, 3)
    # cells touched by the block: 40 to 60, 28 to 52, 18 to 42
    assert body.box(0, 61) == Box((36, 24, 15), (64, 56, 45))


def test_last_cell_of_an_image_that_is_no_multiple_of_it_counts_its_own_voxels_only():
    suv = torch.zeros(41, 41, 41)
    suv[20:, 20:, 20:] = 0.15  # above 0.1 as a mean over the voxels there are
    suv[30, 30, 30] = 50.0
    assert find_body(mean_cells(suv, (2.0, 2.0, 2.0))).box(0, 41).stop == (41, 41, 41)


def test_component_that_is_cold_or_small_is_not_the_patient():
    suv = torch.zeros(60, 60, 60)
    suv[20:40, 20:40, :] = 2.0
    suv[25:35, 25:35, 40:50] = 8.0
    before = find_body(mean_cells(suv, SPACING_MM)).box(0, 60)
    suv[:, 50:52, :] = 0.15  # a table that is radioactive enough to pass for tissue
    suv[2:4, 2:4, 2:4] = 0.6  # 1.7 ml, warm
    assert find_body(mean_cells(suv, SPACING_MM)).box(0, 60) == before
