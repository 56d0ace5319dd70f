from __future__ import annotations

import json

import pytest
from blobs import write_blobs
from runs import NARROW

from bench import training as bench
from swfastedit_core.errors import UserError
from swfastedit_core.train.options import parse, run_settings_of
from swfastedit_core.train.run.execution import Schedule


def row(seconds, waiting, gpu=""):
    return {"seconds_per_step": str(seconds), "waiting": str(waiting), "gpu_gb": gpu}


def test_figures_are_medians_and_the_wait_is_weighed_by_time():
    figures = bench.summarise("some", [row(1, 0.5, "2.5"), row(2, 0), row(5, 0.1, "3.5")], batch=4)
    assert (figures.seconds_per_step, figures.patches_per_second) == (2.0, 2.0)
    assert (figures.fastest, figures.slowest) == (1.0, 5.0)
    assert figures.waiting == pytest.approx(1 / 8)
    assert figures.gpu_gb == 3.5
    assert bench.to_markdown([figures]).splitlines()[-1] == "| some | 2.00 | 2.00 (1.00 to 5.00) | 12.5% | 3.5 GB |"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_settings_are_options_that_training_accepts(device):
    for setting in bench.settings_for(device):
        options = parse(["--output", "run", "--data", "images:a", "phantom:8", *setting.options])
        run_settings_of(options, Schedule())


@pytest.mark.long
def test_real_run_is_measured(monkeypatch, tmp_path, capfd):
    """A narrow network on scans of a few voxels; three rows, of which two are used."""
    monkeypatch.setattr(bench, "ROWS", 3)
    monkeypatch.setattr(bench, "PHANTOMS", 1)
    monkeypatch.setattr(bench, "settings_for", lambda _: [bench.Setting("narrow", tuple(NARROW), 1)])
    donors, target = write_blobs(tmp_path / "blobs", 2), tmp_path / "figures.json"
    assert bench.main(["--device", "cpu", "--donor-data", str(donors), "--output", str(target)]) == 0
    (figures,) = json.loads(target.read_text())
    assert 0 < figures["fastest"] <= figures["seconds_per_step"] <= figures["slowest"]
    assert figures["patches_per_second"] == pytest.approx(2 / figures["seconds_per_step"])
    assert 0 <= figures["waiting"] < 1
    assert figures["gpu_gb"] is None
    assert "| narrow |" in capfd.readouterr().out


@pytest.mark.long
def test_run_that_fails_and_unknown_settings_are_reported(tmp_path, capfd):
    setting = bench.Setting("too small", ("--crop", "33", "32", "32"), 1)
    with pytest.raises(UserError, match=r"too small: .*--crop 33 32 32, expected at least --window 128 128 128"):
        bench.measure(setting, device="cpu", donor_data=None, work=tmp_path)
    assert bench.main(["--device", "cpu", "--only", "none of them"]) == 1
    assert "no such setting" in capfd.readouterr().err
