import numpy as np
import pytest
from ibsi_phantom import GLOBAL_PEAK, IMAGE_ZYX, LOCAL_PEAK, MASK_ZYX, SPACING_ZYX_MM

from swfastedit_core.report.figures import suv_peak
from swfastedit_core.report.figures.suv_peak import RADIUS_MM, global_peak, local_peak, sphere_means, sphere_offsets
from swfastedit_core.volume import Geometry, Volume

# Of the phantom's six voxels outside of the region. Inferred: they count as neighbours, and of the whole numbers from 0
# to 10 only 5, a level that the region lacks, gives both published peaks.
OUTSIDE_SUV = 5.0


def volume(array_zyx: np.ndarray, spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0)) -> Volume:
    return Volume(array_zyx.astype(np.float32), Geometry(array_zyx.shape[::-1], spacing_mm))


def test_peaks_of_the_ibsi_phantom_are_the_published_ones() -> None:
    pet = volume(np.where(MASK_ZYX, IMAGE_ZYX, OUTSIDE_SUV), SPACING_ZYX_MM)
    index = np.argwhere(MASK_ZYX)

    assert local_peak(pet, index) == pytest.approx(LOCAL_PEAK[0], abs=0.001)
    assert global_peak(pet, index) == pytest.approx(3.103448, abs=1e-6)
    assert round(global_peak(pet, index), 1) == GLOBAL_PEAK[0]


def test_sphere_of_1_ml_holds_the_voxels_whose_centres_are_within_6_2_mm() -> None:
    assert pytest.approx(6.2035, abs=1e-4) == RADIUS_MM
    assert len(sphere_offsets((4.0, 4.0, 4.0), RADIUS_MM)) == 19  # the centre, 6 faces, 12 edges; corners: 6.93 mm
    assert len(sphere_offsets((6.0, 3.0, 5.0), RADIUS_MM)) == 13  # along z 2, y 4, x 2, and 4 in the plane of y and x
    assert len(sphere_offsets((3.0, 6.3, 7.0), RADIUS_MM)) == 5
    assert len(sphere_offsets((7.0, 7.0, 7.0), RADIUS_MM)) == 1  # the voxel in the middle


def test_neighbours_outside_of_the_lesion_count() -> None:
    array = np.zeros((7, 7, 7))
    array[3, 3, 3], array[3, 3, 4] = 19.0, 38.0

    assert global_peak(volume(array), np.array([[3, 3, 3]])) == pytest.approx(3.0)


def test_beyond_the_border_the_mean_is_over_the_voxels_that_exist() -> None:
    array = np.zeros((7, 7, 7))
    array[0, 0, 0] = 14.0

    assert global_peak(volume(array), np.array([[0, 0, 0]])) == pytest.approx(2.0)  # 7 of 19 voxels
    assert global_peak(volume(np.full((1, 1, 1), 6.0)), np.array([[0, 0, 0]])) == 6.0


def test_local_peak_is_at_the_hottest_voxel_and_of_two_the_higher_peak() -> None:
    array = np.zeros((9, 9, 20))
    array[4, 4, 4] = array[4, 4, 15] = 19.0
    array[4, 4, 14] = 18.0
    array[4:6, 4, 8:12] = 10.0  # warm and large
    index = np.argwhere(array)

    assert local_peak(volume(array), index) == pytest.approx(37 / 19)
    assert global_peak(volume(array), index) == pytest.approx(60 / 19)  # six of them: three in each row


def test_means_are_those_of_a_loop_over_all_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suv_peak, "CHUNK", 7)
    array = np.random.default_rng(0).random((6, 9, 8))
    spacing_zyx_mm = np.array([3.0, 2.5, 4.0])
    index = np.argwhere(array > 0.5)
    centres = np.argwhere(np.ones(array.shape)) * spacing_zyx_mm
    expected = [
        array.ravel()[np.linalg.norm(centres - one * spacing_zyx_mm, axis=1) <= RADIUS_MM].mean() for one in index
    ]

    assert sphere_means(volume(array, (4.0, 2.5, 3.0)), index) == pytest.approx(expected)
