"""The shipped weights, and a full-width network, on a real scan where one lies beside the repository."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from places import ROOT, STS_001, real

from swfastedit_core import load_networks, read_label, read_volume, segment
from swfastedit_core.body import find_body, mean_cells
from swfastedit_core.engine.choice import cpu_has_bfloat16
from swfastedit_core.metrics.overlap import dice
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.phantom import Scanner, make_phantom
from swfastedit_core.preprocess import place, to_network_grid
from swfastedit_core.volume import Geometry
from swfastedit_core.windows import plan_windows

SCAN = STS_001 / "pet.mha"


def process(output, *arguments):
    command = [sys.executable, "process.py", "--pet", str(SCAN), "--output", str(output), "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    mask, scan = sitk.ReadImage(report["output"]), sitk.ReadImage(str(SCAN))
    for what in ("Size", "Spacing", "Origin", "Direction"):
        assert getattr(mask, f"Get{what}")() == getattr(scan, f"Get{what}")()
    assert mask.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    array = sitk.GetArrayFromImage(mask)
    assert set(np.unique(array)) <= {0, 1}
    assert array.sum() == report["lesion_voxels"]
    return array, report


@real(STS_001)
@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no instructions for bfloat16")
def test_bfloat16_agrees_with_float32(tmp_path):
    fast, report = process(tmp_path / "fast", "--precision", "bfloat16")
    exact, same = process(tmp_path / "exact", "--precision", "float32")
    assert exact.sum() > 100
    assert report["windows"] == same["windows"] < 0.35 * report["windows_full_grid"]
    assert dice(exact, fast) >= 0.97


@real(STS_001)
def test_windows_cover_the_tumour_and_everything_hot():
    preprocessing = load_networks(ROOT / "weights", device="cpu")[0].config.preprocessing
    scan, tumour = read_volume(SCAN), read_label(STS_001 / "lesion.mha")
    placement = place(scan.geometry, preprocessing.spacing_mm)
    suv = to_network_grid(scan, placement, torch.device("cpu"))
    lesion = to_network_grid(tumour, placement, torch.device("cpu"))
    plan = plan_windows(
        placement.network_shape, window=(96, 64, 64), overlap=0.75, body=find_body(mean_cells(suv, (4, 4, 4)))
    )
    seen = torch.zeros(placement.network_shape, dtype=torch.bool)
    for x, y, z in plan.starts:
        seen[x : x + 96, y : y + 64, z : z + 64] = True
    assert lesion.sum() * 4**3 == pytest.approx(366_000, rel=0.02)
    assert seen[lesion > 0].all()
    assert seen[suv > 0.5].all()


@real(STS_001)
def test_full_network_from_the_authors_format_runs(tmp_path):
    """One pass without overlap keeps the 31 M network's share of the test's time small."""
    torch.manual_seed(0)
    torch.save({"net": build_network(NetworkConfig("dynunet")).state_dict()}, tmp_path / "0.pt")
    convert = [sys.executable, "-m", "swfastedit_core.checkpoint", "convert", str(tmp_path / "0.pt")]
    weights = tmp_path / "full.safetensors"
    subprocess.run([*convert, str(weights)], cwd=ROOT, check=True, capture_output=True)
    _, report = process(tmp_path / "out", "--weights", str(weights), "--overlap", "0")
    # 600 × 600 mm and 873 mm at 2.036 and 3 mm: 293 × 293 × 291 voxels, 3 × 3 × 3 windows of 128
    assert report["windows_full_grid"] == 27
    assert report["windows"] <= 14
    assert report["peak_memory_mb"] < 4000


def test_weights_in_the_box_find_lesions_of_a_phantom_they_never_saw():
    grid = Geometry((140, 140, 180), (5.0, 5.0, 5.0), (-347.5, -347.5, -920.0))
    phantom = make_phantom(3_300_000, geometry=grid, scanner=Scanner(noise=0.1))
    networks = load_networks(ROOT / "weights", device="cpu", precision="float32")
    assert networks[0].config.demonstration
    result = segment(phantom.pet, networks)
    assert dice(phantom.label.array_zyx, result.mask.array_zyx) > 0.8
    assert result.windows < 0.35 * result.windows_full_grid


@real(STS_001)
def test_api_gives_the_commands_mask(tmp_path):
    array, _ = process(tmp_path, "--precision", "float32", "--device", "cpu")
    networks = load_networks(ROOT / "weights", device="cpu", precision="float32")
    np.testing.assert_array_equal(segment(read_volume(SCAN), networks).mask.array_zyx, array)
