"""Exported weights: which are taken, and what they replace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, read_config, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.train import __main__ as command

CONFIG = CheckpointConfig(NetworkConfig("smalldynunet", (2, 2, 2)))


def write_weights(path: Path, **training) -> None:
    torch.manual_seed(0)
    tensors = build_network(CONFIG.network).state_dict()
    write_checkpoint(Checkpoint(path, replace(CONFIG, training=training), tensors), path)


@pytest.fixture
def run(tmp_path) -> Path:
    """Write the weights of a run that ended at step 80 without a validation."""
    write_weights(tmp_path / "run" / "last.safetensors", step=80, steps=100, validation={})
    return tmp_path / "run"


def exported(capfd, *arguments) -> str:
    assert command.main(["export", *map(str, arguments)]) == 0
    return capfd.readouterr().out


def test_last_weights_are_taken_where_nothing_was_validated(run, tmp_path, capfd):
    said = exported(capfd, run, tmp_path / "out")
    why = "no validation has finished, so there is no best.safetensors"
    assert said == f"{tmp_path / 'out' / 'run.safetensors'}: last.safetensors of step 80 of 100 ({why})\n"


def test_best_weights_are_taken_unless_the_last_ones_are_asked_for(run, tmp_path, capfd):
    validation = {"step": 60, "cases": 2, "dice": 0.93, "fpv_ml": 1.0, "fnv_ml": None}
    write_weights(run / "best.safetensors", step=60, steps=100, validation=validation)
    said = exported(capfd, run, tmp_path / "out")
    assert said.endswith(": best.safetensors of step 60 of 100 (the best validation: mean Dice 0.9300 of 2 scans)\n")
    said = exported(capfd, run, tmp_path / "out", "--which", "last")
    assert said.endswith(": last.safetensors of step 80 of 100 (--which last); replaced the weights of step 60\n")
    assert read_config(tmp_path / "out" / "run.safetensors").training["step"] == 80


@pytest.mark.parametrize("kind", ["text", "converted weights"])
def test_file_that_is_not_of_a_run_is_not_replaced_unless_asked_for(kind, run, tmp_path, capfd):
    target = tmp_path / "out" / "run.safetensors"
    target.parent.mkdir()
    if kind == "text":
        target.write_text("mine")
    else:
        write_weights(target)
    before = target.read_bytes()
    assert command.main(["export", str(run), str(target.parent)]) == 1
    assert capfd.readouterr().err == (
        f"{target}: exists and holds no weights of a run of this program; choose another folder, or replace it with "
        "--overwrite\n"
    )
    assert target.read_bytes() == before
    said = exported(capfd, run, target.parent, "--overwrite")
    assert said.endswith("; replaced a file that held no weights of a run of this program\n")
    assert read_config(target).training["step"] == 80


def test_nothing_is_written_if_one_of_several_files_must_not_be_replaced(run, tmp_path, capfd):
    write_weights(tmp_path / "other" / "last.safetensors", step=5, steps=5, validation={})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.safetensors").write_text("mine")
    assert command.main(["export", str(tmp_path / "other"), str(run), str(tmp_path / "out")]) == 1
    assert "run.safetensors: exists" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.safetensors"]
