from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swfastedit_core.body import Body, find_body, mean_cells
from swfastedit_core.box import Box
from swfastedit_core.phantom import Scanner, make_phantom
from swfastedit_core.volume import Geometry
from swfastedit_core.windows import plan_windows

SPACING_MM = (6.0, 6.0, 6.0)
WHOLE = Geometry((120, 90, 200), SPACING_MM, (-357.0, -267.0, -1150.0))
HEAD = Geometry((120, 90, 40), SPACING_MM, (-357.0, -267.0, -200.0))
LEGS = Geometry((120, 90, 60), SPACING_MM, (-357.0, -267.0, -1600.0))
QUIET, NOISY = Scanner(noise=0.0), Scanner(noise=0.45)
ARMS_UP, ARMS_DOWN = 3, 2


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


def with_body(shape=(80, 80, 80)):
    """A warm block with a hot organ in a cold room, voxels of 2 mm: cells of 4 voxels."""
    suv = torch.zeros(shape)
    suv[20:60, 20:44, :] = 1.0
    suv[30:42, 24:36, 30:42] = 6.0
    return suv


def test_mean_and_maximum_of_cells_by_hand():
    suv = torch.arange(5 * 3 * 2, dtype=torch.float32).reshape(5, 3, 2)
    cells = mean_cells(suv, (4.0, 3.0, 4.0))  # two voxels of 4 mm, three of 3 mm
    assert cells.cell == (2, 3, 2)
    # x 0 and 1 hold 0 to 11, x 2 and 3 hold 12 to 23, x 4 holds 24 to 29
    assert cells.mean_suv.ravel().tolist() == [5.5, 17.5, 26.5]
    assert cells.max_suv.ravel().tolist() == [11.0, 23.0, 29.0]
    assert cells.cell_ml == pytest.approx(2 * 3 * 2 * 4 * 3 * 4 / 1000)


@pytest.mark.parametrize("shape", [(7, 9, 10), (1, 1, 1), (2, 31, 5), (16, 16, 16)])
def test_maximum_of_cells_is_that_of_torch(shape):
    suv = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cells = mean_cells(suv, (2.0, 2.0, 3.0))
    expected = torch.nn.functional.max_pool3d(suv[None, None], cells.cell, ceil_mode=True)[0, 0]
    np.testing.assert_array_equal(cells.max_suv, expected.numpy())


def test_lesion_of_10_mm_and_suv_4_in_a_cold_foot_is_searched():
    suv = with_body()
    x, y, z = np.ogrid[:80, :80, :80]
    suv[torch.from_numpy((x - 71.5) ** 2 + (y - 71.5) ** 2 + (z - 11.5) ** 2 <= 2.5**2)] = 4.0  # 10 mm, in eight cells
    body = find_body(mean_cells(suv, (2.0, 2.0, 2.0)))
    assert [round(ml, 1) for ml in body.spots_ml] == [0.4]
    plan = plan_windows((80, 80, 80), window=(16, 16, 16), overlap=0.5, body=body)
    assert covered(plan)[(suv > 1.5).numpy()].all()
    suv[60:] *= 0.35  # SUV 1.4
    assert find_body(mean_cells(suv, (2.0, 2.0, 2.0))).box(0, 80).stop[1] < 60 < body.box(0, 80).stop[1]


@pytest.mark.parametrize(("length", "voxels"), [(1, (0.7, 1.05)), (2, (1.6, 2.1)), (4, (3.4, 4.3))])
@pytest.mark.parametrize("voxel", [1, 3])  # 2 and 6 mm, interpolated to 2 mm
def test_spot_apart_from_the_body_has_the_volume_of_its_voxels(voxel, length, voxels):
    suv, spot = with_body(), torch.zeros(1, 1, 6, 6, 6)
    spot[0, 0, 3, 3, 1 : 1 + length] = 4.0
    fine = torch.nn.functional.interpolate(spot, scale_factor=voxel, mode="trilinear")[0, 0]
    side = fine.shape[0]
    suv[62 : 62 + side, 62 : 62 + side, 40 : 40 + side] = fine
    (spot_ml,) = find_body(mean_cells(suv, (2.0, 2.0, 2.0))).spots_ml
    assert voxels[0] < spot_ml / ((2 * voxel) ** 3 / 1000) < voxels[1]


def test_hot_voxels_in_the_body_are_no_spots():
    suv = with_body()
    suv[30, 30, 30] = 20.0
    assert find_body(mean_cells(suv, (2.0, 2.0, 2.0))).spots_ml == ()


def test_hot_voxel_beside_the_body_is_no_spot():
    suv = with_body()
    suv[61, 30, 30] = 3.0  # the cell touches those of the body
    assert find_body(mean_cells(suv, (2.0, 2.0, 2.0))).spots_ml == ()


SCANS_AND_WINDOWS = given(
    seed=st.integers(0, 10_000), overlap=st.sampled_from([0.0, 0.5, 0.75]), window=st.integers(6, 40)
)


@settings(max_examples=15, deadline=None)
@SCANS_AND_WINDOWS
def test_every_hot_voxel_is_in_a_window(seed, overlap, window):
    require_every_hot_voxel_in_a_window(seed, overlap, window)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@SCANS_AND_WINDOWS
def test_every_hot_voxel_of_many_scans_is_in_a_window(seed, overlap, window):
    require_every_hot_voxel_in_a_window(seed, overlap, window)


def require_every_hot_voxel_in_a_window(seed, overlap, window):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(20, 70, 3).tolist())
    suv = torch.from_numpy(rng.random(shape, np.float32) * 0.05)
    suv[shape[0] // 3 : shape[0] // 2] = 1.0
    hot = torch.from_numpy(rng.integers(0, shape, (rng.integers(1, 6), 3)))
    suv[hot[:, 0], hot[:, 1], hot[:, 2]] = 3.0
    plan = plan_windows(shape, window=(window,) * 3, overlap=overlap, body=find_body(mean_cells(suv, (2.0, 2.0, 3.0))))
    assert covered(plan)[(suv > 1.5).numpy()].all()


def test_hot_cells_of_a_scan_in_other_units_follow_its_scale():
    suv = suv_of(ARMS_UP, geometry=WHOLE, scanner=QUIET)
    as_suv, as_bq = mean_cells(suv, SPACING_MM), mean_cells(suv * 5000, SPACING_MM)
    assert 0 < as_bq.hot.sum() < 0.2 * as_bq.hot.size
    assert as_suv.hot.sum() < 0.2 * as_suv.hot.size
