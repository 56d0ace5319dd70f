from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from swfastedit_core.interactive.simulate import distance
from swfastedit_core.interactive.simulate.distance import distance_to_border


def test_distances_in_a_small_region():
    region = np.zeros((3, 5, 6), np.uint8)
    region[:, 1:4, 1:6] = 2  # it goes on beyond z and the last x
    expected = [[0] * 6, [0, 1, 1, 1, 1, 1], [0, 1, 2, 2, 2, 2], [0, 1, 1, 1, 1, 1], [0] * 6]
    assert distance_to_border(region).tolist() == [expected] * 3


@pytest.mark.parametrize("density", [0.01, 0.3, 0.7, 0.99])
def test_distances_are_those_of_scipy_in_the_whole_volume(density):
    region = np.random.default_rng(0).random((21, 22, 23)) < density
    measured = distance_to_border(region)
    np.testing.assert_array_equal(measured, ndimage.distance_transform_edt(region).astype(np.float32))
    assert measured.dtype == np.float32


def test_distances_of_a_few_small_parts_of_a_large_volume():
    region = np.zeros((60, 70, 80), bool)
    region[3:9, 60:70, 2:5] = region[50:60, 0:6, 70:80] = region[20:22, 30:35, 31:40] = True
    np.testing.assert_array_equal(distance_to_border(region), ndimage.distance_transform_edt(region).astype(np.float32))


def test_a_region_that_fills_the_array_ends_at_the_border_of_the_array():
    assert distance_to_border(np.ones((1, 3, 4), bool)).tolist() == [[[1] * 4] * 3]
    assert distance_to_border(np.ones((3, 3, 3), bool))[1, 1].tolist() == [1, 2, 1]


def test_an_empty_region_has_zeros():
    assert not distance_to_border(np.zeros((2, 3, 4), bool)).any()
    assert not distance_to_border(torch.zeros(2, 3, 4)).any()


def test_a_tensor_on_the_cpu_gives_a_tensor():
    region = np.random.default_rng(0).random((9, 10, 11)) < 0.6
    measured = distance_to_border(torch.from_numpy(region).float())
    assert measured.dtype == torch.float32
    np.testing.assert_array_equal(measured.numpy(), distance_to_border(region))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 0.7, 0.99, 1.0])
def test_distances_on_a_gpu_equal_those_on_the_cpu(density, monkeypatch):
    pytest.importorskip("cupy")
    computed = []
    original = distance.compute_with_cupy
    monkeypatch.setattr(distance, "compute_with_cupy", lambda *given: computed.append(original(*given)) or computed[-1])
    region = torch.from_numpy(np.random.default_rng(0).random((40, 50, 60)) < density)
    measured = distance_to_border(region.cuda())
    assert (measured.device.type, measured.dtype) == ("cuda", torch.float32)
    torch.testing.assert_close(measured.cpu(), distance_to_border(region))
    assert len(computed) == (density > 0)
    assert all(part is not None for part in computed)  # cupy did it
