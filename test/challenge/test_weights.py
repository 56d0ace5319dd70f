"""The program with weights of other programs, and with folders that hold more than one network needs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import SimpleITK as sitk
import torch
from monai_networks import monai_network
from program import CONFIG, assert_failed, files, reports, scan

from swfastedit_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network

NARROW = NetworkConfig("dynunet", (2,) * 6)
ASSUMED = "no description in the file, the recipe's preprocessing is assumed (spacing 2.036 × 2.036 × 3 mm, percentiles"


@pytest.fixture
def pet(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    return tmp_path / "scan.mha"


def test_assumptions_about_bare_weights_are_on_stdout_and_in_the_report(pet, tmp_path, run):
    folder = tmp_path / "weights"
    folder.mkdir()
    state = monai_network(NARROW, deep_supervision=True).state_dict()
    torch.save({"net": state}, folder / "0.pt")
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}, folder / "1.ckpt")
    options = ("--pet", pet, "--weights", folder, "--overlap", "0", "--device", "cpu")
    done = run(*options, "--output", tmp_path / "out")
    (report,) = reports(done)
    both = f"{folder / '0.pt'}, {folder / '1.ckpt'}"
    heads, assumed = report["warnings"]
    assert heads == f"{both}: 1 head(s) of deep supervision left out: only training needs them"
    assert assumed.startswith(f"{both}: {ASSUMED}")
    assert report["weights"] == [str(folder / "0.pt"), str(folder / "1.ckpt")]
    notices = [line for line in done.stdout.splitlines() if line.startswith("notice: ")]
    assert notices == [f"notice: {heads}", f"notice: {assumed}"]
    done = run(*options, "--output", tmp_path / "quiet", "--quiet")
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["warnings"] == [heads, assumed]


def test_weights_that_are_described_give_no_notice(pet, tmp_path, weights, run):
    done = run("--pet", pet, "--weights", weights / "1.safetensors", "--output", tmp_path / "out")
    assert reports(done)[0]["warnings"] == []
    assert "notice: " not in done.stdout


def test_choice_between_networks_is_refused_with_the_command_that_makes_it(pet, tmp_path, run):
    networks = {key: monai_network(NARROW, seed).state_dict() for seed, key in enumerate(("model", "ema"))}
    torch.save(networks, tmp_path / "0.pt")
    done = run("--pet", pet, "--weights", tmp_path / "0.pt", "--output", tmp_path / "out")
    assert_failed(done, "holds 2 networks (model, ema); choose one: python -m swfastedit_core.checkpoint convert")
    assert not (tmp_path / "out").exists()


def test_files_of_a_folder_that_are_left_out_are_named_on_stdout(pet, tmp_path, weights, run):
    folder = tmp_path / "weights"
    write_checkpoint(read_checkpoint(weights / "1.safetensors"), folder / "1.safetensors")
    (folder / "2.onnx").touch()
    done = run("--pet", pet, "--weights", folder, "--output", tmp_path / "out")
    assert f"notice: {folder}: not used: 2.onnx (expected .safetensors, .pt, .pth or .ckpt)\n" in done.stdout
    assert reports(done)[0]["warnings"] == []


def test_several_demonstrations_in_a_folder_are_refused(pet, tmp_path, run):
    demonstration = replace(CONFIG, demonstration=True)
    network = Checkpoint(tmp_path, demonstration, build_network(demonstration.network).state_dict())
    paths = [tmp_path / "weights" / name for name in ("fold0.safetensors", "fold1.safetensors")]
    for path in paths:
        write_checkpoint(network, path)
    options = ("--pet", pet, "--output", tmp_path / "out")
    done = run(*options, "--weights", tmp_path / "weights")
    assert_failed(done, "holds several demonstration weights (fold0.safetensors, fold1.safetensors), expected one")
    assert not (tmp_path / "out").exists()
    (report,) = reports(run(*options, "--weights", paths[0], "--weights", paths[1]))
    assert (len(report["weights"]), report["demonstration"]) == (2, True)
    assert files(tmp_path / "out")
