from __future__ import annotations

import json
import shutil
import subprocess
import sys

from places import ROOT

from bench import by_setting, gpu, machine
from swfastedit_core import Geometry


def test_figures_for_a_gpu_are_rehearsed_on_the_cpu(tmp_path, monkeypatch, narrow_checkpoint, capfd):
    monkeypatch.setattr(gpu, "random_weights", lambda path: shutil.copy(narrow_checkpoint, path))
    monkeypatch.setattr(gpu, "BOX", narrow_checkpoint)
    monkeypatch.setattr(gpu, "_small_grid", lambda: Geometry((24, 24, 30), (6.0, 6.0, 6.0), (-72.0, -72.0, -500.0)))
    monkeypatch.setattr(
        gpu, "large_grid", lambda slices: Geometry((24, 24, slices), (6.0, 6.0, 6.0), (-72.0, -72.0, -500.0))
    )
    monkeypatch.setattr(gpu, "KEPT_UP", 0.1)
    monkeypatch.setattr(machine, "SIDES", {"cpu": (64, 256)})
    monkeypatch.setattr(machine, "SECONDS", 0.1)
    output = tmp_path / "new" / "gpu.json"
    arguments = ["--device", "cpu", "--slices", "20", "--repeats", "1", "--output", str(output)]
    assert gpu.main(arguments) == 0
    found = json.loads(output.read_text())
    exact, *_, components, limits = rows = found["agreement with the CPU"]
    assert all(row["passed"] for row in rows)
    assert exact["voxels that differ"] == 0
    assert exact["logits, largest difference"] == 0.0
    assert components["found"] == 1.0
    assert limits["found"] == limits["expected"]
    (scan,) = found["whole scans"]
    assert (scan["voxels"], scan["body"]["windows"] > 0) == ("24×24×20", True)
    assert 0 < scan["body"]["seconds"] < scan["warm, s"]["array to mask"]
    assert scan["file to file, warm, s"] > 0
    assert scan["body"]["share of the matrix product"] > 0
    (setting,) = found["one setting after the other"]
    assert setting["s a window"] > 0
    capfd.readouterr()
    row = {"check": "mask in float32, Dice", "passed": False, "found": 0.5, "expected": "0.999 at least"}
    monkeypatch.setattr(gpu, "agreement", lambda _: [row])
    monkeypatch.setattr(gpu, "windows_by_setting", lambda *_: [])
    assert gpu.main([*arguments[:2], "--slices", "--output", str(output)]) == 1
    assert (
        "does not compute what the CPU does: mask in float32, Dice (0.5, expected 0.999 at least)"
        in capfd.readouterr().err
    )


def test_setting_that_fails_leaves_the_others(monkeypatch):
    def fails():
        raise RuntimeError("no compiler\nfound")

    assert by_setting.timed("compiled", fails) == {"setting": "compiled", "failed": "RuntimeError: no compiler found"}


def test_figures_for_a_gpu_need_no_more_than_they_say():
    missing = ("SimpleITK", "monai", "openvino", "cupy", "lightning", "grand_challenge_metrics", "tqdm")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}, None)); import bench.gpu"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
