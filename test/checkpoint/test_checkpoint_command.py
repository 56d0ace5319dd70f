"""The command that shows and converts weights."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai_networks import NARROW, monai_network
from places import ROOT
from safetensors.torch import save_file

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_checkpoint, write_checkpoint
from swfastedit_core.checkpoint import __main__ as command
from swfastedit_core.checkpoint.header import HEADER_KEY, to_header
from swfastedit_core.click_encodings import DiscEncoding, GaussianEncoding, GradedBallEncoding
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing


def checkpoint(config):
    return Checkpoint(Path("made here"), config, build_network(config.network).state_dict())


@pytest.fixture
def run(capfd):
    """Return a function that runs the command in this process: arguments in, exit code and streams out."""

    def run(*arguments):
        capfd.readouterr()
        code = command.main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def test_command_converts_and_shows(tmp_path, run):
    torch.save({"net": monai_network().state_dict()}, tmp_path / "0.pt")
    target = tmp_path / "new" / "mine.safetensors"
    done = run("convert", tmp_path / "0.pt", target, "--half", "--suv-range", 0, 43, "--licence", "CC0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "notice: assumed as in the recipe: spacing 2.036 × 2.036 × 3 mm, window 128 × 128 × 128 voxels; "
        f"if that is wrong, give --spacing, --window\nwritten to {target}\n"
    )
    about = json.loads(run("show", target, "--json").stdout)
    assert about["parameters"] == sum(t.numel() for t in build_network(NARROW).state_dict().values())
    assert about["stored_as"] == ["float16"]
    assert about["preprocessing"]["intensity"] == {"kind": "range", "lower_suv": 0.0, "upper_suv": 43.0}
    assert about["licence"] == "CC0"
    assert about["network"]["filters"] == [2, 3, 4, 5, 6, 7]
    assert about["bytes"] == target.stat().st_size
    assert "notices" not in about


def test_ones_own_network_is_described_in_full(tmp_path, run):
    network = monai_network(deep_supervision=True)
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "0.ckpt")
    described = ("--spacing", 4, 4, 5, "--window", 96, 96, 64, "--percentiles", 1, 99)
    done = run("convert", tmp_path / "0.ckpt", tmp_path / "new.safetensors", *described)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "notice: 1 head(s) of deep supervision left out: only training needs them\n"
        f"written to {tmp_path / 'new.safetensors'}\n"
    )
    found = read_checkpoint(tmp_path / "new.safetensors")
    preprocessing = Preprocessing((4.0, 4.0, 5.0), PercentileIntensity(1.0, 99.0))
    assert found.config == CheckpointConfig(NARROW, preprocessing, window=(96, 96, 64))
    assert found.notices == ()


def test_description_of_the_source_is_kept_where_no_option_replaces_it(tmp_path, run):
    config = CheckpointConfig(NARROW, Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 15.0)), window=(96, 64, 64))
    write_checkpoint(checkpoint(config), tmp_path / "a.safetensors")
    done = run("convert", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--window", 64, 64, 64)
    assert (done.returncode, done.stdout) == (0, f"written to {tmp_path / 'b.safetensors'}\n")
    assert read_checkpoint(tmp_path / "b.safetensors").config == replace(config, window=(64, 64, 64))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", "100", "100", "100"], "window (100, 100, 100), expected multiples of (32, 32, 16)"),
        (["--spacing", "0", "1", "1"], "expected numbers from 0.1 to 100.0"),
        (["--suv-range", "5", "5"], "intensity from 5.0 to 5.0, expected a lower and a higher number"),
        (["--percentiles", "1", "101"], "percentiles 1.0 and 101.0, expected numbers from 0 to 100"),
        (["--suv-range", "0", "5", "--percentiles", "1", "99"], "not allowed with argument"),
        (["--key", "ema"], "--key ema, expected one of net"),
    ],
)
def test_description_that_cannot_be_is_refused(options, words, tmp_path, run):
    torch.save({"net": monai_network().state_dict()}, tmp_path / "0.pt")
    done = run("convert", tmp_path / "0.pt", tmp_path / "new.safetensors", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_key_chooses_the_network(tmp_path, run):
    model, average = monai_network(seed=1).state_dict(), monai_network(seed=2).state_dict()
    torch.save({"model": model, "ema": average}, tmp_path / "0.pt")
    target = tmp_path / "new.safetensors"
    done = run("convert", tmp_path / "0.pt", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds 2 networks (model, ema); choose one: " in done.stderr
    assert done.stderr.endswith(f"convert {tmp_path / '0.pt'} NEW.safetensors --key NAME\n")
    assert run("convert", tmp_path / "0.pt", target, "--key", "ema").returncode == 0
    name = "bottleneck.conv1.conv.weight"
    assert torch.equal(read_checkpoint(target).tensors[name], average[name])
    assert not torch.equal(average[name], model[name])
    done = run("convert", target, tmp_path / "newer.safetensors", "--key", "ema")
    assert "--key ema is for .pt, .pth and .ckpt files" in done.stderr


def test_terms_are_shown_before_the_history_of_training(tmp_path, run):
    config = CheckpointConfig(NARROW, training={"steps": [1, 2]}, licence="CC0", attribution="me", demonstration=True)
    write_checkpoint(checkpoint(config), tmp_path / "a.safetensors")
    about = json.loads(run("show", tmp_path / "a.safetensors", "--json").stdout)
    assert list(about)[-4:] == ["licence", "attribution", "demonstration", "training"]
    assert about["training"] == {"steps": [1, 2]}


def test_summary_for_people_comes_before_the_json(tmp_path, run):
    training = {
        "data": [
            {"layout": "images", "cases": 28, "patients": 27},
            {"layout": "phantom", "cases": 300, "patients": 300},
        ],
        "step": 4000,
        "steps": 5000,
        "start": {"file": "last.safetensors", "licence": "CC0", "training": {}},
        "validation": {"step": 3000, "cases": 7, "dice": 0.71234, "fpv_ml": 1.0, "fnv_ml": None},
    }
    preprocessing = Preprocessing((4.0, 4.0, 5.0), RangeIntensity(0.0, 15.0))
    terms = {"licence": "CC-BY-4.0", "attribution": "A.\nAuthor\x1b", "demonstration": True}
    config = CheckpointConfig(NARROW, preprocessing, (96, 64, 64), training=training, **terms)
    path = tmp_path / "a.safetensors"
    write_checkpoint(checkpoint(config), path)
    parameters = sum(tensor.numel() for tensor in build_network(NARROW).state_dict().values())
    done = run("show", path)
    summary, _, plain = done.stdout.partition("\n\n")
    assert (
        summary
        == f"""{path}
  network       dynunet, filters 2-3-4-5-6-7, {parameters:,} parameters
  stored as     float32, {path.stat().st_size / 1e6:.1f} MB
  channels      pet
  input         spacing 4 × 4 × 5 mm, SUV 0 to 15, window 96 × 64 × 64 voxels
  licence       CC-BY-4.0
  attribution   A. Author
  demonstration yes, not for patients
  trained       4000 of 5000 steps, on 28 cases of 27 patients (images) and 300 cases of 300 patients (phantom)
  started from  last.safetensors, licence CC0
  validation    mean Dice 0.7123 of 7 scans, step 3000"""
    )
    assert plain == run("show", path, "--json").stdout
    assert json.loads(plain)["training"] == training


@pytest.mark.parametrize(
    "training",
    [{}, {"data": 5, "step": "x", "start": 1, "validation": []}, {"data": [1], "validation": {"dice": None}}],
)
def test_summary_of_weights_of_another_program_says_what_is_not_known(training, tmp_path, run):
    write_checkpoint(checkpoint(CheckpointConfig(NARROW, training=training)), tmp_path / "a.safetensors")
    done = run("show", tmp_path / "a.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  trained       not described\n  validation    none\n" in done.stdout


def test_what_is_assumed_is_shown(tmp_path, run):
    torch.save({"net": monai_network().state_dict()}, tmp_path / "0.pt")
    (notice,) = json.loads(run("show", tmp_path / "0.pt", "--json").stdout)["notices"]
    assert notice.startswith("no description in the file, the recipe's preprocessing is assumed (spacing 2.036")
    assert f"\n  notice        {notice}\n" in run("show", tmp_path / "0.pt").stdout


def test_folder_is_no_file_of_weights(tmp_path, run):
    (tmp_path / "demo.safetensors").touch()
    done = run("show", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{tmp_path}: is a folder, expected one file of weights; name a file in it (found: demo.safetensors)\n"
    )


def test_commands_are_named_where_none_is_given(run):
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "expected a command: show FILE prints what weights are, convert FILE NEW.safetensors writes them with a "
        "description; see python -m swfastedit_core.checkpoint --help\n"
    )


def test_command_shows_the_channels_and_keeps_them(tmp_path, run):
    network = NetworkConfig("smalldynunet", (3, 4, 5), in_channels=2)
    preprocessing = Preprocessing((4.0, 4.5, 5.0), RangeIntensity(0.5, 20.0), ct_hu=(-160.0, 240.0))
    config = CheckpointConfig(network, preprocessing, window=(32, 64, 16), channels=Channels.PET_CT)
    write_checkpoint(checkpoint(config), tmp_path / "both.safetensors")
    done = run("convert", tmp_path / "both.safetensors", tmp_path / "new.safetensors", "--suv-range", 0, 43)
    assert (done.returncode, done.stderr) == (0, "")
    about = json.loads(run("show", tmp_path / "new.safetensors", "--json").stdout)
    assert about["channels"] == ["pet", "ct"]
    assert about["preprocessing"]["ct_hu"] == [-160.0, 240.0]
    assert about["preprocessing"]["intensity"] == {"kind": "range", "lower_suv": 0.0, "upper_suv": 43.0}


THREE = replace(NARROW, in_channels=3)


def test_interactive_weights_of_the_authors_are_converted(tmp_path, run):
    torch.save({"net": monai_network(THREE).state_dict()}, tmp_path / "0.pt")
    done = run("convert", tmp_path / "0.pt", tmp_path / "new.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "notice: assumed as in the recipe: spacing 2.036 × 2.036 × 3 mm, percentiles 0.05 and 99.95 of the image, "
        "window 128 × 128 × 128 voxels, clicks as disc of sigma 1 voxels; if that is wrong, give --spacing, "
        "--percentiles or --suv-range, --window, --clicks\n"
    )
    shown = run("show", tmp_path / "new.safetensors").stdout
    assert "  channels      pet, tumour guidance, background guidance\n" in shown
    assert ", clicks as disc of sigma 1 voxels\n" in shown
    about = json.loads(run("show", tmp_path / "new.safetensors", "--json").stdout)
    assert about["clicks"] == {"kind": "disc", "sigma": 1.0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--clicks", "disc"), DiscEncoding(1.0)),
        (("--clicks", "disc", "--click-size", 2), DiscEncoding(2.0)),
        (("--click-size", 2.5), DiscEncoding(2.5)),
        (("--clicks", "graded-ball"), GradedBallEncoding(2)),
        (("--clicks", "graded-ball", "--click-size", 3), GradedBallEncoding(3)),
        (("--clicks", "gaussian"), GaussianEncoding(3.0)),
        (("--clicks", "gaussian", "--click-size", 1), GaussianEncoding(1.0)),
    ],
)
def test_user_says_how_clicks_were_painted(options, expected, tmp_path, run):
    torch.save({"net": monai_network(THREE).state_dict()}, tmp_path / "0.pt")
    described = ("--spacing", 4, 4, 5, "--window", 96, 96, 64, "--percentiles", 1, 99)
    done = run("convert", tmp_path / "0.pt", tmp_path / "new.safetensors", *options, *described)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"written to {tmp_path / 'new.safetensors'}\n"
    assert read_checkpoint(tmp_path / "new.safetensors").config.clicks == expected
    again = run("convert", tmp_path / "new.safetensors", tmp_path / "same.safetensors", "--half")
    assert again.returncode == 0
    assert read_checkpoint(tmp_path / "same.safetensors").config.clicks == expected


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (3, ("--clicks", "graded-ball", "--click-size", 1.5), "radius 1.5 of a click, expected a whole number from 0"),
        (3, ("--click-size", "nan"), "sigma nan of a click, expected more than 0"),
        (1, ("--clicks", "disc"), "--clicks disc: the weights have the channels pet and take no clicks\n"),
        (1, ("--click-size", 2), "--click-size: the weights have the channels pet and take no clicks\n"),
        (3, ("--clicks", "ball"), "argument --clicks: invalid choice: 'ball' (choose from "),
    ],
)
def test_clicks_that_do_not_fit_the_weights_are_refused(channels, options, message, tmp_path, run):
    torch.save({"net": monai_network(replace(NARROW, in_channels=channels)).state_dict()}, tmp_path / "0.pt")
    done = run("convert", tmp_path / "0.pt", tmp_path / "new.safetensors", *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_command_fails_in_one_line_whatever_the_file_says(tmp_path, run):
    path = tmp_path / "weights.safetensors"
    header = to_header(CheckpointConfig(NARROW)).replace('"dynunet"', '"two\\nlines"')
    save_file(build_network(NARROW).state_dict(), path, {HEADER_KEY: header})
    done = run("convert", path, tmp_path / "new.safetensors")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: unknown network 'two lines', expected one of smalldynunet")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_command_names_a_missing_file(tmp_path):
    started = [sys.executable, "-m", "swfastedit_core.checkpoint", "show", str(tmp_path / "none.safetensors")]
    done = subprocess.run(started, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path / 'none.safetensors'}: no such file\n"
