"""Which files are the weights, among files and folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai_networks import NARROW, monai_network

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, find_checkpoints, write_checkpoint
from swfastedit_core.errors import UserError
from swfastedit_core.model import build_network

BESIDE_OTHERS = "demonstration weights are not used beside others, unless named with --weights FILE"
WITH_CLICKS = replace(NARROW, in_channels=3)


def write(path, *, demonstration=False, interactive=False):
    config = replace(
        CheckpointConfig.of_the_recipe(WITH_CLICKS if interactive else NARROW), demonstration=demonstration
    )
    write_checkpoint(Checkpoint(Path("made here"), config, build_network(config.network).state_dict()), path)


def found(folder, *, interactive=False):
    result = find_checkpoints([folder], interactive=interactive)
    return [path.name for path in result.files], list(result.notices)


def test_weights_are_found_in_files_and_folders(tmp_path):
    for name in ("b.safetensors", "a.safetensors", ".hidden.safetensors"):
        write(tmp_path / name)
    for name in ("c.pt", "d.pth", "epoch=3-dice=0.5.ckpt"):
        torch.save({"net": monai_network().state_dict()}, tmp_path / name)
    assert found(tmp_path) == (["a.safetensors", "b.safetensors", "c.pt", "d.pth", "epoch=3-dice=0.5.ckpt"], [])
    result = find_checkpoints([tmp_path / "c.pt", tmp_path / "a.safetensors"])
    assert (result.files, result.notices) == ((tmp_path / "c.pt", tmp_path / "a.safetensors"), ())


def test_files_of_a_folder_that_are_left_out_are_named(tmp_path):
    write(tmp_path / "a.safetensors")
    for name in ("a.pt", "a.ckpt", "b.onnx", "c.PT", "README.md", "run.toml", "LICENSE", "log.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert found(tmp_path) == (
        ["a.safetensors"],
        [
            f"{tmp_path}: not used: b.onnx, c.PT (expected .safetensors, .pt, .pth or .ckpt)",
            f"{tmp_path}: not used: a.ckpt, a.pt (the .safetensors file of the same name is used)",
        ],
    )
    assert find_checkpoints([tmp_path / "a.pt"]).files == (tmp_path / "a.pt",)


def test_demonstration_steps_aside_for_other_weights(tmp_path):
    write(tmp_path / "demo.safetensors", demonstration=True)
    assert found(tmp_path) == (["demo.safetensors"], [])
    write(tmp_path / "mine.safetensors")
    notice = f"{tmp_path}: not used: demo.safetensors ({BESIDE_OTHERS})"
    assert found(tmp_path) == (["mine.safetensors"], [notice])


def test_shipped_demonstration_steps_aside_for_another_demonstration(tmp_path):
    for name in ("demo.safetensors", "mine.safetensors"):
        write(tmp_path / name, demonstration=True)
    notice = f"{tmp_path}: not used: demo.safetensors ({BESIDE_OTHERS})"
    assert found(tmp_path) == (["mine.safetensors"], [notice])
    both = [tmp_path / "demo.safetensors", tmp_path / "mine.safetensors"]
    assert find_checkpoints(both).files == tuple(both)  # the user says so


def test_several_demonstrations_are_no_ensemble_unless_named(tmp_path):
    for name in ("demo.safetensors", "fold0.safetensors", "fold1.safetensors"):
        write(tmp_path / name, demonstration=True)
    with pytest.raises(UserError) as caught:
        find_checkpoints([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path}: holds several demonstration weights (fold0.safetensors, fold1.safetensors), expected one; name "
        "the file to use with --weights FILE"
    )
    both = [tmp_path / "fold0.safetensors", tmp_path / "fold1.safetensors"]
    assert find_checkpoints(both).files == tuple(both)
    write(tmp_path / "trained.safetensors")
    assert found(tmp_path)[0] == ["trained.safetensors"]


def test_clicks_decide_which_demonstration_of_the_program_is_used(tmp_path):
    write(tmp_path / "demo.safetensors", demonstration=True)
    write(tmp_path / "demo-interactive.safetensors", demonstration=True, interactive=True)
    automatic = f"{tmp_path}: not used: demo-interactive.safetensors (without clicks, automatic networks are used)"
    assert found(tmp_path) == (["demo.safetensors"], [automatic])
    interactive = f"{tmp_path}: not used: demo.safetensors (with clicks, interactive networks are used)"
    assert found(tmp_path, interactive=True) == (["demo-interactive.safetensors"], [interactive])
    both = [tmp_path / "demo.safetensors", tmp_path / "demo-interactive.safetensors"]
    for use in (False, True):
        assert find_checkpoints(both, interactive=use).files == tuple(both)  # the user names them
        assert find_checkpoints(both, interactive=use).notices == ()


@pytest.mark.parametrize("interactive", [False, True])
@pytest.mark.parametrize("takes_clicks", [False, True])
def test_own_weights_are_used_beside_the_demonstrations_of_the_program(takes_clicks, interactive, tmp_path):
    write(tmp_path / "demo.safetensors", demonstration=True)
    write(tmp_path / "demo-interactive.safetensors", demonstration=True, interactive=True)
    write(tmp_path / "mine.safetensors", interactive=takes_clicks)
    notice = f"{tmp_path}: not used: demo-interactive.safetensors, demo.safetensors ({BESIDE_OTHERS})"
    assert found(tmp_path, interactive=interactive) == (["mine.safetensors"], [notice])
    write(tmp_path / "mine.safetensors", demonstration=True, interactive=takes_clicks)
    assert found(tmp_path, interactive=interactive) == (["mine.safetensors"], [notice])


def test_own_demonstrations_of_both_uses_are_told_apart(tmp_path):
    for name, takes_clicks in (("a", False), ("b", True), ("demo", False), ("demo-interactive", True)):
        write(tmp_path / f"{name}.safetensors", demonstration=True, interactive=takes_clicks)
    assert found(tmp_path)[0] == ["a.safetensors"]
    assert found(tmp_path, interactive=True)[0] == ["b.safetensors"]
    write(tmp_path / "c.safetensors", demonstration=True, interactive=True)
    assert found(tmp_path)[0] == ["a.safetensors"]
    with pytest.raises(UserError, match=r"several demonstration weights \(b\.safetensors, c\.safetensors\), expected"):
        find_checkpoints([tmp_path], interactive=True)


def test_files_of_torch_are_told_apart_by_their_shapes(tmp_path):
    torch.save({"net": monai_network().state_dict()}, tmp_path / "automatic.pt")
    old_format = {"_use_new_zipfile_serialization": False}
    torch.save({"net": monai_network(WITH_CLICKS).state_dict()}, tmp_path / "clicks.pt", **old_format)
    write(tmp_path / "fold1.safetensors")
    assert found(tmp_path)[0] == ["automatic.pt", "fold1.safetensors"]
    automatic = f"{tmp_path}: not used: automatic.pt, fold1.safetensors (with clicks, interactive networks are used)"
    assert found(tmp_path, interactive=True) == (["clicks.pt"], [automatic])


def test_only_file_of_torch_in_a_folder_is_not_read(tmp_path):
    (tmp_path / "0.pt").write_bytes(b"no network")
    write(tmp_path / "demo.safetensors", demonstration=True)
    for interactive in (False, True):
        assert found(tmp_path, interactive=interactive)[0] == ["0.pt"]


def test_folder_of_a_run_is_no_ensemble(tmp_path):
    for name in ("best.safetensors", "last.safetensors"):
        write(tmp_path / name)
    (tmp_path / "states").mkdir()
    with pytest.raises(UserError, match=r"is the folder of a training run; name one file in it, .*last\.safetensors"):
        find_checkpoints([tmp_path])
    assert find_checkpoints([tmp_path / "best.safetensors"]).files == (tmp_path / "best.safetensors",)


def test_places_without_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        find_checkpoints([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="the folder holds no weights"):
        find_checkpoints([tmp_path])
