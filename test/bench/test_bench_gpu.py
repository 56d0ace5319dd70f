from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from bench import gpu, gpu_settings, machine
from swfastedit_core import Geometry


def test_figures_for_a_gpu_can_be_measured_on_the_cpu(tmp_path, monkeypatch, narrow_checkpoint, capfd):
    monkeypatch.setattr(gpu, "random_weights", lambda path: shutil.copy(narrow_checkpoint, path))
    monkeypatch.setattr(gpu, "DEMO_WEIGHTS", narrow_checkpoint)
    monkeypatch.setattr(gpu, "_small_grid", lambda: Geometry((24, 24, 30), (6.0, 6.0, 6.0), (-72.0, -72.0, -500.0)))
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
    exact, *_, components, limits = rows = found["agreement with the CPU"]
    assert all(row["passed"] for row in rows)
    assert exact["voxels that differ"] == 0
    assert exact["logits, largest difference"] == 0.0
    assert components["value"] == 0.0
    assert limits["value"] == limits["expected"]
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
    monkeypatch.setattr(gpu, "compare_with_cpu", lambda _: [row])
    monkeypatch.setattr(gpu, "measure_settings", lambda *_: [])
    assert gpu.main([*arguments[:2], "--slices", "--output", str(output)]) == 1
    assert (
        "and the CPU have different results: mask in float32 (0.5, expected 0.0019 at most)" in capfd.readouterr().err
    )


def test_differing_voxels_are_a_share_of_the_expected_mask():
    expected = np.array([1, 1, 1, 1, 0, 0])
    assert gpu.differing_share(expected, np.array([1, 1, 1, 0, 2, 0])) == 0.5
    assert gpu.differing_share(np.zeros(3), np.zeros(3)) == 0.0
    assert gpu.differing_share(np.zeros(3), np.ones(3)) == 3.0


def test_setting_that_fails_leaves_the_others(monkeypatch):
    def fails():
        raise RuntimeError("no compiler\nfound")

    assert gpu_settings.timed("compiled", fails) == {"setting": "compiled", "failed": "RuntimeError: no compiler found"}


def test_figures_for_a_gpu_need_no_more_than_they_say():
    missing = ("SimpleITK", "monai", "openvino", "cupy", "lightning", "grand_challenge_metrics", "tqdm")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}, None)); import bench.gpu"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
