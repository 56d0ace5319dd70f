import numpy as np

from swfastedit_core.report.figures.lesions import number_lesions


def test_lesions_are_numbered_by_size_and_then_by_position() -> None:
    mask = np.zeros((3, 3, 9), np.uint8)
    mask[0, 0, 0] = 1  # one voxel, first
    mask[0, 0, 3:6] = 1
    mask[2, 2, 4] = 1  # one voxel, last
    mask[2, 0, 7:9] = 2

    numbers, count = number_lesions(mask)

    assert count == 4
    assert numbers.dtype == np.int32
    assert numbers[0, 0].tolist() == [3, 0, 0, 1, 1, 1, 0, 0, 0]
    assert numbers[2, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 2]
    assert numbers[2, 2, 4] == 4
    assert np.count_nonzero(numbers) == 7


def test_an_edge_joins_and_a_corner_does_not() -> None:
    edge, corner = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    edge[0, 0, 0] = edge[0, 1, 1] = 1
    corner[0, 0, 0] = corner[1, 1, 1] = 1

    assert number_lesions(edge)[1] == 1
    assert number_lesions(corner)[1] == 2


def test_an_empty_mask_has_no_lesions() -> None:
    numbers, count = number_lesions(np.zeros((2, 3, 4), np.uint8))

    assert count == 0
    assert numbers.shape == (2, 3, 4)
    assert not numbers.any()
