import math
import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from swfastedit_core.report.figures.dissemination import body_surface_m2, dmax_of_centroids_mm, dmax_of_voxels_mm
from swfastedit_core.report.figures.farthest import farthest_distance, farthest_of_two
from swfastedit_core.report.figures.lesions import number_lesions
from swfastedit_core.volume import Geometry

TURNED = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0)


def dmax(
    mask: np.ndarray, spacing_mm: tuple[float, float, float], direction: tuple[float, ...] = TURNED
) -> float | None:
    numbers, count = number_lesions(mask)
    return dmax_of_voxels_mm(numbers, count, Geometry(mask.shape[::-1], spacing_mm, (10.0, 20.0, 30.0), direction))


def test_farthest_voxels_belong_to_different_lesions() -> None:
    mask = np.zeros((2, 5, 30), np.uint8)
    mask[0, 0, :20] = 1  # longer than the way from any of its voxels to the other lesion
    mask[0, 4, 10] = 1

    assert dmax(mask, (1.0, 2.0, 3.0)) == pytest.approx(math.hypot(10, 8))


def test_lesion_in_the_hull_of_another_one_counts() -> None:
    mask = np.zeros((1, 9, 9), np.uint8)
    mask[0, 0], mask[0, -1], mask[0, :, 0] = 1, 1, 1
    mask[0, 3, 4] = 1

    assert dmax(mask, (1.0, 1.0, 1.0)) == pytest.approx(math.hypot(4, 5))


def test_single_lesion_has_its_own_length_and_no_distance_of_centroids() -> None:
    mask = np.zeros((4, 6, 7), np.uint8)
    mask[1:3, 2, 1:5] = 1

    assert dmax(mask, (2.0, 1.0, 5.0)) == pytest.approx(math.hypot(3 * 2, 5))
    assert dmax_of_centroids_mm(np.array([[1.0, 2.0, 3.0]])) == 0.0
    mask[:] = 0
    mask[0, 0, 0] = 1
    assert dmax(mask, (2.0, 1.0, 5.0)) == 0.0


def test_without_lesions_there_is_no_dmax() -> None:
    assert dmax(np.zeros((2, 2, 2)), (1.0, 1.0, 1.0)) is None
    assert dmax_of_centroids_mm(np.array([])) is None


def test_centroids() -> None:
    points = np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 40.0], [10.0, 1.0, 1.0]])
    assert dmax_of_centroids_mm(points) == pytest.approx(50.0)
    assert dmax_of_centroids_mm(points[:2]) == pytest.approx(50.0)


@pytest.mark.parametrize("seed", range(5))
def test_farthest_points_are_those_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = [rng.normal(rng.normal(0, 30, 3), rng.uniform(1, 40), (int(rng.integers(1, 60)), 3)) for _ in range(6)]

    expected = max(cdist(one, other).max() for i, one in enumerate(sets) for other in sets[:i])
    assert farthest_of_two(sets) == pytest.approx(expected)
    points = np.concatenate(sets)
    assert farthest_distance(points) == pytest.approx(cdist(points, points).max())


def test_thousands_of_lesions_need_no_table_of_all_pairs() -> None:
    index = np.stack(np.unravel_index(np.arange(0, 40**3, 32), (40, 40, 40)), axis=1) * 3.0
    sets = list(np.stack([index, index + 1.0], axis=1))  # 2,000 lesions of two voxels
    expected = cdist(index, index + 1.0).max()
    tracemalloc.start()
    try:
        assert farthest_of_two(sets) == pytest.approx(expected)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_random_masks_agree_with_all_pairs_of_voxels() -> None:
    mask = np.random.default_rng(1).random((8, 9, 10)) < 0.03
    numbers, count = number_lesions(mask)
    index = np.argwhere(mask)
    millimetres = index * (3.0, 2.0, 1.0)
    number = numbers[tuple(index.T)]
    apart = cdist(millimetres, millimetres) * (number[:, None] != number)

    assert count > 3
    assert dmax(mask, (1.0, 2.0, 3.0)) == pytest.approx(apart.max())


def test_body_surface_by_du_bois() -> None:
    assert body_surface_m2(height_cm=170, weight_kg=70) == pytest.approx(1.810, abs=0.001)
