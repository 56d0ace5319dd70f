from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from places import ROOT

from bench import gpu, gpu_checks, gpu_settings, gpu_trial, machine
from swfastedit_core import Geometry
from swfastedit_core.engine.torch_norm import ChannelsLastNorm


@pytest.mark.long
def test_figures_for_a_gpu_can_be_measured_on_the_cpu(tmp_path, monkeypatch, narrow_checkpoint, capfd):
    monkeypatch.setattr(gpu, "random_weights", lambda path: shutil.copy(narrow_checkpoint, path))
    monkeypatch.setattr(gpu_trial, "DEMO_WEIGHTS", narrow_checkpoint)
    grid = Geometry((10, 10, 10), (12.0, 12.0, 12.0), (-60.0, -60.0, -400.0))  # one window
    monkeypatch.setattr(gpu_trial, "small_grid", lambda: grid)
    monkeypatch.setattr(gpu_checks, "SLOWER_FIRST_SCAN", 100.0)  # the tests run beside each other
    monkeypatch.setattr(
        gpu, "large_grid", lambda slices: Geometry((24, 24, slices), (6.0, 6.0, 6.0), (-72.0, -72.0, -500.0))
    )
    monkeypatch.setattr(gpu, "SUSTAINED_SECONDS", 0.1)
    monkeypatch.setattr(machine, "SIDES", {"cpu": (64, 256)})
    monkeypatch.setattr(machine, "SECONDS", 0.1)
    monkeypatch.setattr(gpu_settings, "seconds_of", lambda work, *_: work().numel())
    output = tmp_path / "new" / "gpu.json"
    arguments = ["--device", "cpu", "--slices", "20", "--repeats", "1", "--output", str(output)]
    assert gpu.main(arguments) == 0
    found = json.loads(output.read_text())
    rows = {row["check"]: row for row in found["checks"]}
    assert {name for name, row in rows.items() if row["passed"] is None} == {
        "batch that does not fit",
        "cupy",
        "float16 that overflows",
    }
    assert all(row["passed"] is not False for row in rows.values())
    exact = rows["mask in float32, differing share"]
    assert exact["voxels that differ"] == 0
    assert exact["logits, largest difference"] == 0.0
    assert rows["mask without small components, differing share"]["value"] == 0.0
    assert rows["percentiles"]["value"] == pytest.approx(rows["percentiles"]["expected"])
    assert rows["convolutions that read another layout, 2 window(s)"]["value"] == []
    assert rows["settings of a program"]["value"] is True
    assert rows["first scan after the warm-up"]["value"]["windows at a time"] == 1
    (scan,) = found["whole scans"]
    body = scan["body"]
    assert scan["voxels"] == "24×24×20"
    assert 0 < body["seconds"] < scan["warm, s"]["array to mask"]
    assert scan["file to file, warm, s"] > 0
    assert body["gflops"] == pytest.approx(body["windows"] * scan["gflop_per_window"] / body["seconds"])
    assert body["share of the matrix product"] == pytest.approx(body["gflops"] / body["matrix product, gflops"])
    assert found["window by setting"] == [{"setting": "CPU, batch 1", "seconds per window": 64**3}]
    capfd.readouterr()
    row = {"check": "mask in float32", "passed": False, "value": 0.5, "expected": "0.0019 at most"}
    monkeypatch.setattr(gpu, "check_all", lambda _: [row])
    assert gpu.main([*arguments[:2], "--minutes", "0", "--output", str(output)]) == 1
    said = capfd.readouterr()
    assert "1 check(s) failed: mask in float32 (0.5, expected 0.0019 at most)" in said.err
    for part in ("window by setting", "ceilings", "scan of 326 slices"):
        assert f"{part} is left out" in said.out


def test_check_that_fails_with_an_error_has_not_passed_and_the_others_run(monkeypatch):
    def breaks(trial):
        yield {"check": "first", "passed": True, "value": 1, "expected": 1}
        raise RuntimeError("CUDA error:\nan illegal memory access")

    def passes(trial):
        yield {"check": "last", "passed": True, "value": 1, "expected": 1}

    monkeypatch.setattr(gpu_checks, "CHECKS", (breaks, passes))
    monkeypatch.setattr(gpu_checks, "make_trial", lambda device: None)
    rows = gpu_checks.check_all(torch.device("cpu"))
    assert [(row["check"], row["passed"]) for row in rows] == [("breaks", False), ("last", True)]
    assert rows[0]["value"] == "RuntimeError: CUDA error: an illegal memory access"


@pytest.mark.parametrize("norm", [ChannelsLastNorm, gpu_settings.VarMeanNorm])
def test_norms_that_are_timed_compute_the_same(norm):
    x = torch.randn((2, 4, 6, 8, 10), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm()(x), torch.nn.functional.instance_norm(x), atol=1e-5, rtol=1e-5)


def test_differing_voxels_are_a_share_of_the_expected_mask():
    expected = np.array([1, 1, 1, 1, 0, 0])
    assert gpu_trial.differing_share(expected, np.array([1, 1, 1, 0, 2, 0])) == 0.5
    assert gpu_trial.differing_share(np.zeros(3), np.zeros(3)) == 0.0
    assert gpu_trial.differing_share(np.zeros(3), np.ones(3)) == 3.0


def test_setting_that_fails_leaves_the_others(monkeypatch):
    def fails():
        raise RuntimeError("no compiler\nfound")

    assert gpu_settings.timed("compiled", fails) == {"setting": "compiled", "failed": "RuntimeError: no compiler found"}


@pytest.mark.long
def test_figures_for_a_gpu_need_no_more_than_they_say():
    missing = ("SimpleITK", "monai", "openvino", "cupy", "lightning", "grand_challenge_metrics", "tqdm")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}, None)); import bench.gpu"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
