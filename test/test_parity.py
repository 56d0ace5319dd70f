"""The float32 full-grid path against the recipe put together from MONAI's own parts."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from scipy import ndimage

from bench.reference import monai_network, recipe
from swfastedit_core.blending import gaussian_weights
from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.engine.ensemble import load_networks
from swfastedit_core.files.volumes import read_volume
from swfastedit_core.pipeline import segment
from swfastedit_core.windows import plan_windows

# Share of the voxels. A network of random weights has as many logits around 0 as anywhere else, and each rounding
# there turns a voxel; OpenVINO sums in another order than PyTorch, with which MONAI's recipe runs.
ALLOWED = {"torch": 1e-4, "openvino": 3e-4}
# Times a coarse spacing these sevenths are exact in NIfTI's float32. Where they are not, MONAI's Spacing no longer
# finds the corner that it means to keep in place (its tolerance is 1e-8), and shifts the grid instead.
SEVENTHS = np.array([[6.0, -3.0, 2.0], [2.0, 6.0, 3.0], [-3.0, -2.0, 6.0]]) / 7
ORIENTATIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "oblique": SEVENTHS,
    "left-handed": np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
}
SPACINGS_MM = {"recipe": (2.03642011, 2.03642011, 3.0), "coarse": (3.5, 3.5, 4.375)}


def write_scan(path, direction, spacing_mm, size_xyz):
    """Write blobs of SUV 0 to about 20 with some noise, on the given grid."""
    rng = np.random.default_rng(7)
    blobs = ndimage.zoom(rng.gamma(0.5, 2.5, (7, 7, 7)), np.array(size_xyz[::-1]) / 7, order=2)
    array = np.maximum(blobs + rng.normal(0, 0.1, blobs.shape), 0).astype(np.float32)
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = direction * spacing_mm
    affine_lps[:3, 3] = (-101.5, 33.25, -700.0)
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps), path)


@pytest.mark.parametrize("spacing", SPACINGS_MM)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_mask_equals_the_recipe_of_monai(orientation, spacing, tmp_path, narrow_checkpoint):
    scan = tmp_path / "scan.nii.gz"
    size_xyz = (67, 72, 61) if spacing == "recipe" else (40, 37, 50)
    direction = ORIENTATIONS[orientation]
    assert (np.linalg.det(direction) < 0) == (orientation == "left-handed")
    write_scan(scan, direction, SPACINGS_MM[spacing], size_xyz)
    expected, timing = recipe(scan, read_checkpoint(narrow_checkpoint))
    assert 0.02 < expected.mean() < 0.98  # a network that says one thing everywhere would prove nothing
    for backend, allowed in ALLOWED.items():
        networks = load_networks(narrow_checkpoint, device="cpu", precision="float32", backend=backend)
        result = segment(read_volume(scan), networks, full_grid=True)
        found = result.mask.array_zyx
        assert timing.windows == timing.windows_run == result.windows
        assert found.shape == expected.shape
        assert np.count_nonzero(found != expected) <= allowed * expected.size


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("image", [(128, 128, 128), (129, 200, 131), (40, 128, 300), (400, 400, 326)])
def test_full_grid_window_positions_equal_monai(image, overlap):
    window = (128, 128, 128)
    padded = [max(side, 128) for side in image]
    before = [(wide - side) // 2 for wide, side in zip(padded, image, strict=True)]
    step = [max(int(128 * (1 - overlap)), 1)] * 3
    expected = [tuple(s.start for s in slices) for slices in dense_patch_slices(padded, window, step)]
    plan = plan_windows(image, window=window, overlap=overlap)
    assert [tuple(np.add(start, before)) for start in plan.starts] == expected


def test_recipe_visits_800_windows_of_a_large_scan():
    assert len(plan_windows((400, 400, 326), window=(128, 128, 128), overlap=0.75).starts) == 800


@pytest.mark.parametrize("window", [(128, 128, 128), (96, 96, 96), (64, 32, 16), (33, 64, 7)])
def test_gaussian_weights_equal_monai(window):
    expected = compute_importance_map(window, mode="gaussian", sigma_scale=0.125, dtype=torch.float32)
    expected = expected.clamp(min=max(expected[expected != 0].min().item(), 1e-3))  # as its inferer does
    assert torch.equal(gaussian_weights(window), expected)


def test_networks_agree_with_monai_on_a_batch(narrow_checkpoint):
    checkpoint = read_checkpoint(narrow_checkpoint)
    image = torch.rand((2, 1, 64, 32, 32), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(checkpoint.network()(image), monai_network(checkpoint)(image))


def test_orientations_of_this_file_are_four_different_ones():
    for a, b in itertools.combinations(ORIENTATIONS.values(), 2):
        assert not np.allclose(a, b, atol=0.05)
