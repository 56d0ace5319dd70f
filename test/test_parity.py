"""The full grid in float32 against the recipe, built from MONAI's parts."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel
import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from scipy import ndimage

from bench.reference import monai_network, recipe
from swfastedit_core.blending import gaussian_weights
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_checkpoint, write_checkpoint
from swfastedit_core.click_encodings import DiscEncoding, GaussianEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.engine.ensemble import load_networks
from swfastedit_core.files.read import read_volume
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.pipeline import segment
from swfastedit_core.windows import plan_windows

# Of the voxels. A network of random weights has as many logits near 0 as anywhere else: rounding flips some voxels.
ALLOWED = 1e-4
# Times a coarse spacing these sevenths are exact in NIfTI's float32. Where they are not, MONAI's Spacing no longer
# finds the corner that it means to keep in place (its tolerance is 1e-8), and shifts the grid instead.
SEVENTHS = np.array([[6.0, -3.0, 2.0], [2.0, 6.0, 3.0], [-3.0, -2.0, 6.0]]) / 7
ORIENTATIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "oblique": SEVENTHS,
    "left-handed": np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "permuted": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
}
RECIPE_MM, COARSE_MM = (2.03642011, 2.03642011, 3.0), (3.5, 3.5, 4.375)


@dataclass(frozen=True)
class Input:
    """A scan: its grid, and whether air is exactly 0 and the patient free of noise. Sizes are for windows of 32³."""

    orientation: str = "identity"
    spacing_mm: tuple[float, float, float] = RECIPE_MM
    size_xyz: tuple[int, int, int] = (35, 38, 31)
    constant_air: bool = False
    smooth: bool = False


INPUTS = {
    **{name: Input(name) for name in ORIENTATIONS},
    **{f"{name}, coarse": Input(name, COARSE_MM, (20, 19, 26)) for name in ("identity", "flipped", "oblique")},
    "15 slices": Input(size_xyz=(35, 36, 15)),
    "air exactly 0": Input(constant_air=True),
    "air exactly 0, smooth, flipped": Input("flipped", constant_air=True, smooth=True),
    "smooth": Input(smooth=True),
}


def write_scan(path, scan, size_xyz):
    """Write blobs of SUV 0 to about 20 in an ellipsoid that fills a fifth of the grid."""
    rng = np.random.default_rng(7)
    array = ndimage.zoom(rng.gamma(0.5, 2.5, (7, 7, 7)), np.array(size_xyz[::-1]) / 7, order=2)
    if not scan.smooth:
        array += rng.normal(0, 0.1, array.shape)
    if scan.constant_air:
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in array.shape), indexing="ij")
        array[(x / 0.6) ** 2 + (y / 0.6) ** 2 + z**2 > 1] = 0
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = ORIENTATIONS[scan.orientation] * scan.spacing_mm
    affine_lps[:3, 3] = (-101.5, 33.25, -700.0)
    affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    nibabel.save(nibabel.Nifti1Image(np.maximum(array, 0).astype(np.float32).T, affine_ras), path)


def write_network(folder, *, filters, side, clicks=None):
    """Write a `dynunet` of random weights with cubic windows; it takes clicks if an encoding of them is given."""
    channels = Channels.PET if clicks is None else Channels.PET_CLICKS
    network = NetworkConfig("dynunet", filters, channels.count)
    config = CheckpointConfig(network, window=(side, side, side), channels=channels, clicks=clicks)
    torch.manual_seed(0)
    path = folder / "random.safetensors"
    write_checkpoint(Checkpoint(path, config, build_network(config.network).state_dict()), path)
    return path


def share_that_differs(scan, size_xyz, checkpoint, folder, *, clicks=()):
    """Return, for each engine, the share of the voxels in which its mask differs from the recipe's."""
    path = folder / "scan.nii.gz"
    write_scan(path, scan, size_xyz)
    expected, timing = recipe(path, read_checkpoint(checkpoint), clicks=clicks)
    assert 0.02 < expected.mean() < 0.98  # a network that says one thing everywhere would prove nothing
    shares = {}
    for engine_name in ("torch", "openvino"):
        networks = load_networks(checkpoint, device="cpu", precision="float32", engine=engine_name)
        result = segment(read_volume(path), networks, clicks=clicks, full_grid=True)
        assert timing.windows == timing.windows_run == result.windows
        assert result.mask.array_zyx.shape == expected.shape
        shares[engine_name] = np.count_nonzero(result.mask.array_zyx != expected) / expected.size
    return shares


@pytest.mark.parametrize("name", INPUTS)
def test_mask_equals_the_recipe_of_monai(name, tmp_path):
    checkpoint = write_network(tmp_path, filters=(4, 4, 8, 8, 8, 8), side=32)
    shares = share_that_differs(INPUTS[name], INPUTS[name].size_xyz, checkpoint, tmp_path)
    assert max(shares.values()) <= ALLOWED, shares


@pytest.mark.long
@pytest.mark.parametrize("name", INPUTS)
def test_mask_equals_the_recipe_of_monai_with_windows_of_the_recipe(name, tmp_path):
    checkpoint = write_network(tmp_path, filters=(8, 16, 32, 64, 80, 80), side=128)
    shares = share_that_differs(INPUTS[name], [4 * side for side in INPUTS[name].size_xyz], checkpoint, tmp_path)
    assert max(shares.values()) <= ALLOWED, shares


def random_clicks(size_xyz):
    """Return five clicks of each kind; the last two of a kind are adjacent, so the other discs get smaller.

    None of them is halfway between two voxels of the network.
    """
    rng = np.random.default_rng(8)
    places = rng.integers(0, np.array(size_xyz) - 1, (8, 3))
    kinds = [ClickKind.TUMOUR, ClickKind.BACKGROUND] * 4
    near = [(ClickKind.TUMOUR, places[6] + (1, 0, 0)), (ClickKind.BACKGROUND, places[7] + (0, 0, 1))]
    return [Click(kind, tuple(place.tolist())) for kind, place in (*zip(kinds, places, strict=True), *near)]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("identity", DiscEncoding()),
        pytest.param("oblique", DiscEncoding(), marks=pytest.mark.long),
        pytest.param("permuted", DiscEncoding(2.0), marks=pytest.mark.long),
        pytest.param("flipped, coarse", DiscEncoding(), marks=pytest.mark.long),
        ("oblique, coarse", GaussianEncoding()),
        pytest.param("15 slices", DiscEncoding(), marks=pytest.mark.long),
    ],
)
def test_mask_with_ten_clicks_equals_the_recipe_of_monai(name, encoding, tmp_path):
    checkpoint = write_network(tmp_path, filters=(4, 4, 8, 8, 8, 8), side=32, clicks=encoding)
    clicks = random_clicks(INPUTS[name].size_xyz)
    assert len(clicks) == 10
    shares = share_that_differs(INPUTS[name], INPUTS[name].size_xyz, checkpoint, tmp_path, clicks=clicks)
    assert max(shares.values()) <= ALLOWED, shares


def test_ten_clicks_change_the_mask_of_a_random_network(tmp_path):
    """Otherwise the test above would pass with a network that ignores clicks."""
    scan = INPUTS["15 slices"]
    checkpoint = write_network(tmp_path, filters=(4, 4, 8, 8, 8, 8), side=32, clicks=DiscEncoding())
    write_scan(tmp_path / "scan.nii.gz", scan, scan.size_xyz)
    pet, networks = read_volume(tmp_path / "scan.nii.gz"), load_networks(checkpoint, device="cpu", precision="float32")
    clicks = random_clicks(scan.size_xyz)
    without, with_clicks = (segment(pet, networks, clicks=given, overlap=0.0).mask for given in ((), clicks))
    assert (without.array_zyx != with_clicks.array_zyx).mean() > 10 * ALLOWED


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
