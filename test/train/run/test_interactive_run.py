"""Runs of interactive networks: what the command writes, and what can be done with it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from blobs import blob
from runs import metrics

from swfastedit_core import load_networks, segment
from swfastedit_core.checkpoint import Channels, read_checkpoint, read_config
from swfastedit_core.click_encodings import DiscEncoding, GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.data.sources import Scan
from swfastedit_core.train.run.states import list_states
from swfastedit_core.train.run.validation import key_score, simulated_clicks

pytestmark = pytest.mark.usefixtures("in_one_process", "without_pictures")

FIRST = ("input_block.conv1.conv.weight", "input_block.conv3.conv.weight")
LEARN = ["--interactive", "--learning-rate", "1e-2", "--log-every", "1"]


def test_run_validates_without_and_with_clicks_and_its_weights_take_clicks(options, tmp_path, capfd):
    run, weights = tmp_path / "run", tmp_path / "weights"
    common = [*options, *LEARN, "--steps", "2", "--fold", "2/5", "--validation-cases", "1", "--validation-clicks", "2"]
    assert command.main(["--output", str(run), *common]) == 0
    row = metrics(run)[-1]
    assert (row["clicks"], row["validated_cases"]) == ("2", "1")
    assert row["dice"] != row["clicked_dice"] != ""
    validation = read_config(run / "best.safetensors").training["validation"]
    assert validation["clicked_dice"] == pytest.approx(float(row["clicked_dice"]), abs=1e-4)
    assert {path.stem for path in (run / "validation").iterdir()} == {"00000002", "00000002-clicks"}
    assert "without clicks mean Dice" in capfd.readouterr().out
    assert command.main(["export", str(run), str(weights)]) == 0
    assert "with 2 clicks of each kind" in capfd.readouterr().out
    config = read_config(weights / "run.safetensors")
    assert (config.channels, config.clicks) == (Channels.PET_CLICKS, GradedBallEncoding())
    assert config.training["options"]["interactive"] is True
    networks = load_networks(weights / "run.safetensors", device="cpu", precision="float32")
    scan, _ = blob(0)
    clicks = [Click(ClickKind.TUMOUR, (20, 18, 16)), Click(ClickKind.BACKGROUND, (10, 18, 16))]
    masks = [segment(scan, networks, clicks=given).mask.array_zyx for given in ((), clicks)]
    assert (masks[0] != masks[1]).any()


def test_run_in_rounds_resumes_to_the_same_weights(options, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    rounds = ["--rounds", "3", "--stop", "probability", "--click-draw", "distance", "--click-encoding", "disc"]
    common = [*options, *LEARN, *rounds, "--steps", "3", "--save-every", "0"]
    assert command.main(["--output", str(whole), *common]) == 0
    shutil.copytree(whole, torn)
    for state in list_states(torn / "states")[1:]:
        state.unlink()
    assert command.main(["--output", str(torn), *common, "--resume"]) == 0
    one, other = (read_checkpoint(run / "last.safetensors") for run in (whole, torn))
    assert all(tensor.equal(other.tensors[name]) for name, tensor in one.tensors.items())
    assert one.config.clicks == DiscEncoding(1.0)
    assert command.main(["--output", str(torn), *common, "--stop", "rounds", "--resume"]) == 1


def test_interactive_run_starts_from_an_automatic_network(options, tmp_path, capfd):
    automatic, tuned = tmp_path / "automatic", tmp_path / "tuned"
    assert command.main(["--output", str(automatic), *options, "--steps", "1"]) == 0
    start = automatic / "last.safetensors"
    still = [*options, "--interactive", "--steps", "1", "--learning-rate", "1e-9", "--start-from", str(start)]
    assert command.main(["--output", str(tuned), *still]) == 0
    before, after = read_checkpoint(start).tensors, read_checkpoint(tuned / "last.safetensors").tensors
    for name, tensor in before.items():  # at this learning rate nothing moves further than its step
        image_channels = after[name][:, :1] if name in FIRST else after[name]
        torch.testing.assert_close(image_channels, tensor, rtol=0, atol=1e-8)
    assert all(after[name][:, 1:].abs().max() <= 1e-8 for name in FIRST)
    scan, _ = blob(0)
    networks = [load_networks(path, device="cpu", precision="float32") for path in (start, tuned / "last.safetensors")]
    one, other = (segment(scan, network).mask.array_zyx for network in networks)
    np.testing.assert_array_equal(one, other)
    capfd.readouterr()
    back = ["--output", str(tmp_path / "back"), *options, "--steps", "1"]
    assert command.main([*back, "--start-from", str(tuned / "last.safetensors")]) == 1
    assert (
        "other channels than the run: pet,tumour guidance,background guidance instead of pet" in capfd.readouterr().err
    )
    other_clicks = ["--interactive", "--click-encoding", "disc", "--start-from", str(tuned / "last.safetensors")]
    assert command.main([*back, *other_clicks]) == 1
    assert "another encoding of clicks than the run: GradedBallEncoding(radius=2) instead of" in capfd.readouterr().err
    with_ct = ["--interactive", "--channels", "pet,ct", "--start-from", str(start)]
    assert command.main([*back, *with_ct]) == 1
    assert "other channels than the run: pet instead of pet,ct,tumour guidance" in capfd.readouterr().err


def test_simulated_clicks_are_in_their_class_and_the_same_each_time():
    scan, label = blob(0)
    clicks = simulated_clicks(Scan(scan, label), 4)
    assert [click.kind for click in clicks] == [ClickKind.TUMOUR] * 4 + [ClickKind.BACKGROUND] * 4
    for click in clicks:
        x, y, z = click.position
        assert label.array_zyx[z, y, x] == (click.kind is ClickKind.TUMOUR)
    assert clicks == simulated_clicks(Scan(scan, label), 4)


def test_best_weights_are_those_of_both_uses():
    assert key_score({"dice": 0.5}) == 0.5
    assert key_score({"dice": 0.5, "clicked_dice": 0.75}) == 0.625
