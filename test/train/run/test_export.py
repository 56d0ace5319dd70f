"""Exported weights: which are taken, and what they replace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swfastedit_core.checkpoint import (
    Channels,
    Checkpoint,
    CheckpointConfig,
    find_checkpoints,
    read_config,
    write_checkpoint,
)
from swfastedit_core.click_encodings import DiscEncoding
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.train import __main__ as command

CONFIG = CheckpointConfig(NetworkConfig("smalldynunet", (2, 2, 2)))


INTERACTIVE = CheckpointConfig(
    NetworkConfig("smalldynunet", (2, 2, 2), in_channels=3), channels=Channels.PET_CLICKS, clicks=DiscEncoding()
)


def write_weights(path: Path, *, config: CheckpointConfig = CONFIG, demonstration: bool = False, **training) -> None:
    torch.manual_seed(0)
    described = replace(config, training=training, demonstration=demonstration)
    write_checkpoint(Checkpoint(path, described, build_network(config.network).state_dict()), path)


@pytest.fixture
def run(tmp_path) -> Path:
    """Write the weights of a run that ended at step 80 without a validation."""
    write_weights(tmp_path / "run" / "last.safetensors", step=80, steps=100, validation={})
    return tmp_path / "run"


def exported(capfd, *arguments) -> str:
    """Export, and return the lines about the files that were written."""
    written, use = export_and_use(capfd, *arguments)
    assert use == [f"process.py --weights {arguments[1]} will use run.safetensors"]
    return written


def export_and_use(capfd, *arguments) -> tuple[str, list[str]]:
    """Export one run; return the line about its file, and the lines about the folder."""
    assert command.main(["export", *map(str, arguments)]) == 0
    written, *use = capfd.readouterr().out.splitlines()
    return f"{written}\n", use


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


def test_export_says_which_weights_are_used_with_clicks(run, tmp_path, capfd):
    out = tmp_path / "out"
    write_weights(run / "last.safetensors", config=INTERACTIVE, step=80, steps=100, validation={})
    assert export_and_use(capfd, run, out)[1] == [f"process.py --weights {out} will use run.safetensors"]
    write_weights(out / "automatic.safetensors")
    assert export_and_use(capfd, run, out)[1] == [
        f"process.py --weights {out} will use automatic.safetensors",
        f"process.py --weights {out} --clicks FILE will use run.safetensors",
        f"notice: {out}: not used: run.safetensors (without clicks, automatic networks are used)",
    ]


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


def test_export_says_what_the_program_uses_of_the_folder(run, tmp_path, capfd):
    out = tmp_path / "out"
    write_weights(out / "demo.safetensors", demonstration=True)
    reason = "demonstration weights are not used beside others, unless named with --weights FILE"
    left_out = f"notice: {out}: not used: demo.safetensors ({reason})"
    assert export_and_use(capfd, run, out)[1] == [f"process.py --weights {out} will use run.safetensors", left_out]
    write_weights(out / "older.safetensors", step=5)
    assert export_and_use(capfd, run, out)[1] == [
        f"process.py --weights {out} will use an ensemble of 2: older.safetensors, run.safetensors",
        left_out,
    ]


def test_exported_demonstration_replaces_the_shipped_one_and_is_refused_beside_others(tmp_path, capfd):
    out = tmp_path / "out"
    for name in ("demo", "fold0", "fold1"):
        write_weights(tmp_path / name / "last.safetensors", demonstration=True, step=1, steps=1, validation={})
    for name, used in (("demo", "demo"), ("fold0", "fold0")):
        use = export_and_use(capfd, tmp_path / name, out)[1]
        assert use[0] == f"process.py --weights {out} will use {used}.safetensors (a demonstration, not for patients)"
    assert [path.name for path in find_checkpoints([out]).files] == ["fold0.safetensors"]
    assert export_and_use(capfd, tmp_path / "fold1", out)[1] == [
        f"warning: process.py --weights {out} will be refused: {out}: holds several demonstration weights "
        "(fold0.safetensors, fold1.safetensors), expected one; name the file to use with --weights FILE"
    ]
