import numpy as np
import pytest
from ibsi_phantom import IMAGE_ZYX, MASK_ZYX, MAXIMUM, MEAN, VOLUME_MM3
from places import STS_001, real

from swfastedit_core.box import Box
from swfastedit_core.files.read import read_label, read_volume
from swfastedit_core.labels.axes import Turn, turn_volume
from swfastedit_core.report.figures.lesions import number_lesions
from swfastedit_core.report.figures.measure import measure_lesions
from swfastedit_core.report.record import Lesion
from swfastedit_core.volume import Geometry, Volume

TURNED = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0)  # about the long axis


def measured(pet: Volume, mask: np.ndarray) -> tuple[Lesion, ...]:
    return measure_lesions(pet, *number_lesions(mask))


def test_figures_of_two_lesions_on_an_oblique_grid() -> None:
    suv = np.ones((6, 20, 20), np.float32)
    suv[2, 3, 4:7] = 2.0, 4.0, 9.0
    suv[5, 19, 19] = 7.0  # at the border
    mask = (suv > 1).astype(np.uint8)
    grid = Geometry((20, 20, 6), (5.0, 10.0, 7.0), (100.0, 200.0, -300.0), TURNED)

    large, small = measured(Volume(suv, grid), mask)

    assert (large.number, large.voxels, small.number, small.voxels) == (1, 3, 2, 1)
    assert (large.volume_ml, small.volume_ml) == pytest.approx((1.05, 0.35))
    assert (large.suv_max, large.suv_mean, large.tlg_g) == pytest.approx((9.0, 5.0, 5.25))
    # The sphere holds the neighbours along x only. Around the last voxel: 4, 9, and 1 outside of the lesion.
    assert large.suv_peak == pytest.approx(15 / 3)
    assert small.suv_peak == pytest.approx(8 / 2)
    assert large.centroid_xyz == pytest.approx((5.0, 3.0, 2.0))
    assert large.centroid_mm == pytest.approx((100 + 0.6 * 25 - 0.8 * 30, 200 + 0.8 * 25 + 0.6 * 30, -286.0))
    assert large.box == Box((4, 3, 2), (7, 4, 3))
    assert small.box == Box((19, 19, 5), (20, 20, 6))
    # Corners of 17.5 to 32.5 mm along x, 25 to 35 mm along y.
    low, high = large.box_mm
    assert low == pytest.approx((100 + 0.6 * 17.5 - 0.8 * 35, 200 + 0.8 * 17.5 + 0.6 * 25, -289.5))
    assert high == pytest.approx((100 + 0.6 * 32.5 - 0.8 * 25, 200 + 0.8 * 32.5 + 0.6 * 35, -282.5))
    assert large.longest_diameter_mm == pytest.approx(15.0)
    assert small.longest_diameter_mm == pytest.approx(10.0)
    assert small.liver_ratio_max is None


def test_box_in_mm_is_that_of_the_voxels_on_an_oblique_grid() -> None:
    grid = Geometry((9, 8, 4), (5.0, 10.0, 7.0), (100.0, 200.0, -300.0), TURNED)
    mask = np.zeros(grid.shape_zyx, np.uint8)
    mask[1, 2, 2:5] = mask[1, 3:6, 4] = mask[2, 2, 2] = 1  # an L: two corners of its box along x, y are empty

    (lesion,) = measured(Volume(mask.astype(np.float32), grid), mask)

    corners = (np.argwhere(mask)[:, None, ::-1] + np.array(list(np.ndindex(2, 2, 2))) - 0.5).reshape(-1, 3)
    corners_mm = corners * grid.spacing_mm @ grid.axes_lps.T + grid.origin_mm
    assert lesion.box_mm == (pytest.approx(corners_mm.min(axis=0)), pytest.approx(corners_mm.max(axis=0)))


def test_volume_and_suv_of_the_ibsi_phantom() -> None:
    (lesion,) = measured(Volume(IMAGE_ZYX, Geometry((5, 4, 4), (2.0, 2.0, 2.0))), MASK_ZYX)

    assert lesion.volume_ml * 1000 == pytest.approx(VOLUME_MM3[0])
    assert lesion.suv_mean == pytest.approx(MEAN[0], abs=0.005)
    assert lesion.suv_max == MAXIMUM[0]
    assert lesion.tlg_g == pytest.approx(1.272)


def test_file_axes_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    grid = Geometry((12, 11, 10), (3.0, 4.0, 5.0), (1.0, 2.0, 3.0))
    pet = Volume(rng.random((10, 11, 12)).astype(np.float32), grid)
    mask = np.zeros(grid.shape_zyx, np.uint8)
    mask[1:4, 2:6, 0:3] = mask[7:9, 1:3, 8:11] = mask[9, 10, 11] = 1
    turn = Turn((2, 0, 1), (True, False, True))
    turned_pet, turned_mask = turn_volume(pet, turn), turn_volume(Volume(mask, grid), turn)

    for one, other in zip(measured(pet, mask), measured(turned_pet, turned_mask.array_zyx), strict=True):
        assert one.voxels == other.voxels
        for name in ("suv_max", "suv_mean", "suv_peak", "tlg_g", "surface_mm2", "sphericity", "longest_diameter_mm"):
            assert getattr(other, name) == pytest.approx(getattr(one, name))
        assert other.centroid_mm == pytest.approx(one.centroid_mm)
        assert np.ravel(other.box_mm) == pytest.approx(np.ravel(one.box_mm))


def test_sphere_of_known_uptake() -> None:
    spacing_mm, radius_mm, suv = np.array([2.0, 2.0, 3.0]), 15.0, 6.0
    axes = [(np.arange(n) - n // 2) * mm for n, mm in zip((15, 21, 21), spacing_mm[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside = x**2 + y**2 + z**2 <= radius_mm**2
    pet = Volume(np.where(inside, suv, 1.0).astype(np.float32), Geometry((21, 21, 15), tuple(spacing_mm)))

    (lesion,) = measured(pet, inside)

    # Centres of counted voxels are at most half a diagonal of a voxel inside or outside of the sphere.
    half = float(np.linalg.norm(spacing_mm)) / 2
    low_ml, high_ml = (4 / 3 * np.pi * r**3 / 1000 for r in (radius_mm - half, radius_mm + half))
    assert low_ml < lesion.volume_ml < high_ml
    assert (lesion.suv_mean, lesion.suv_peak, lesion.suv_max) == pytest.approx((suv, suv, suv))
    assert lesion.tlg_g == pytest.approx(suv * lesion.volume_ml)
    assert lesion.centroid_xyz == pytest.approx((10.0, 10.0, 7.0))


def test_without_lesions_there_are_no_figures() -> None:
    pet = Volume(np.ones((2, 3, 4), np.float32), Geometry((4, 3, 2), (1.0, 1.0, 1.0)))
    assert measured(pet, np.zeros((2, 3, 4))) == ()


@real(STS_001)
def test_sarcoma_of_sts_001() -> None:
    label = read_label(STS_001 / "lesion.mha")
    (lesion,) = measured(read_volume(STS_001 / "pet.mha"), label.array_zyx)

    assert lesion.voxels == 5095
    assert lesion.volume_ml == pytest.approx(366.1, abs=0.05)
    assert lesion.suv_mean == pytest.approx(2.56, abs=0.005)
    assert lesion.suv_max == pytest.approx(7.91, abs=0.005)
