from __future__ import annotations

import numpy as np
import pytest
import torch

from swfastedit_core import components
from swfastedit_core.components import component_sizes, count_components, label_components, remove_small_components


def drawn(*rows):
    """Turn rows of '#' and '.' into a mask of one slice."""
    return np.array([[[char == "#" for char in row] for row in rows]])


# Three components: 3 voxels joined over an edge, 1 voxel, 2 voxels.
MASK = drawn("##..#", "..#..", "#....", "#....")
NUMBERS = [[[1, 1, 0, 0, 2], [0, 0, 1, 0, 0], [3, 0, 0, 0, 0], [3, 0, 0, 0, 0]]]
SIZES = [3, 1, 2]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_components_are_numbered_and_measured(dtype):
    numbers, count = label_components(MASK.astype(dtype) * 2)
    assert (numbers.tolist(), count, numbers.dtype) == (NUMBERS, 3, np.int32)
    sizes = component_sizes(numbers, count)
    assert (sizes.tolist(), sizes.dtype) == (SIZES, np.int64)


@pytest.mark.parametrize(
    ("second", "joined"),
    [((0, 0, 1), True), ((0, 1, 1), True), ((1, 1, 0), True), ((1, 1, 1), False), ((0, 0, 2), False)],
)
def test_components_are_18_connected(second, joined):
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[0, 0, 0] = mask[second] = 1
    assert label_components(mask)[1] == count_components(mask) == (1 if joined else 2)
    floored = remove_small_components(torch.from_numpy(mask > 0), min_voxels=2)
    assert floored.sum().item() == (2 if joined else 0)


def test_empty_mask_has_no_component():
    empty = np.zeros((2, 3, 4), np.uint8)
    numbers, count = label_components(empty)
    assert (numbers.any(), count, count_components(empty)) == (False, 0, 0)
    assert component_sizes(numbers, count).tolist() == []
    assert remove_small_components(torch.from_numpy(empty > 0), min_voxels=1).sum().item() == 0


def test_components_are_counted_wherever_they_lie():
    """Also where the box around them begins and ends within the volume, or touches its corner."""
    volume = np.zeros((5, 9, 11), np.uint8)
    volume[2:3, 3:7, 4:9] = MASK
    assert count_components(volume) == 3
    volume[4, 8, 10] = 1
    assert count_components(volume) == 4
    volume[...] = 1
    assert count_components(volume) == 1


def test_floor_keeps_components_of_exactly_its_size():
    mask = torch.from_numpy(drawn("##..#", "#....", "...##"))
    kept = remove_small_components(mask, min_voxels=2)
    assert kept.numpy().tolist() == drawn("##...", "#....", "...##").tolist()
    assert kept.dtype == torch.bool
    assert remove_small_components(mask, min_voxels=2.5).numpy().tolist() == drawn("##...", "#....", ".....").tolist()
    assert remove_small_components(mask, min_voxels=4).sum().item() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("density", [0.02, 0.1, 0.25, 0.9])
@pytest.mark.parametrize("min_voxels", [1, 2, 5.5, 40])
def test_floor_on_a_gpu_equals_the_one_on_the_cpu(density, min_voxels, monkeypatch):
    pytest.importorskip("cupy")
    computed = []

    def compute_with_cupy(array, compute):
        computed.append(original(array, compute))
        return computed[-1]

    original = components.compute_with_cupy
    monkeypatch.setattr(components, "compute_with_cupy", compute_with_cupy)
    mask = torch.from_numpy(np.random.default_rng(0).random((40, 50, 60)) < density)
    floored = remove_small_components(mask.cuda(), min_voxels=min_voxels)
    assert floored.device.type == "cuda"
    assert floored.dtype == torch.bool
    assert torch.equal(floored.cpu(), remove_small_components(mask, min_voxels=min_voxels))
    assert computed[0] is not None  # cupy did it
