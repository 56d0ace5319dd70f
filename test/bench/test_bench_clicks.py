from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from clicked_scans import background, tumour

from bench import clicks
from bench.clicks import Annotated, ClickTime, near_click, to_markdown
from swfastedit_core import Geometry, Volume, write_volume
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing


def write_network(path, *, takes_clicks=True):
    channels = Channels.PET_CLICKS if takes_clicks else Channels.PET
    network = NetworkConfig("smalldynunet", (2, 2, 2), in_channels=channels.count)
    config = CheckpointConfig(
        network,
        Preprocessing((8.0, 8.0, 8.0)),
        (16, 16, 16),
        channels=channels,
        clicks=GradedBallEncoding() if takes_clicks else None,
    )
    torch.manual_seed(1)
    write_checkpoint(Checkpoint(path, config, build_network(network).state_dict()), path)
    return path


@pytest.fixture
def pet(tmp_path):
    grid = Geometry((30, 26, 40), (8.0, 8.0, 8.0))
    suv = np.random.default_rng(0).random(grid.shape_zyx, np.float32) + 1
    (tmp_path / "patient").mkdir()
    write_volume(Volume(suv, grid), tmp_path / "patient" / "pet.mha")
    return tmp_path / "patient" / "pet.mha"


def test_windows_and_times_of_clicks_are_recorded(tmp_path, pet, capsys):
    weights = write_network(tmp_path / "interactive.safetensors")
    arguments = ["--scan", pet, "--weights", weights, "--no-large", "--no-random", "--device", "cpu", "--clicks", 3]
    assert clicks.main([str(one) for one in [*arguments, "--output", tmp_path / "clicks.json"]]) == 0
    content = json.loads((tmp_path / "clicks.json").read_text())
    (one,) = content["clicks"]
    assert (one["scan"], one["network"]) == ("patient", "interactive")
    assert [click["kind"] for click in one["clicks"]] == ["tumor", "background", "tumor"]
    assert all(0 <= click["settled_windows"] < 64 for click in one["clicks"])  # one of up to 64 ran for the preview
    assert all(0 <= click["preview_dice"] <= 1 for click in one["clicks"])
    assert one["first_windows"] > 0
    assert "| patient | interactive |" in capsys.readouterr().out


def test_weights_without_clicks_are_an_error(tmp_path, pet, capfd):
    weights = write_network(tmp_path / "automatic.safetensors", takes_clicks=False)
    arguments = ["--scan", pet, "--weights", weights, "--no-large", "--no-random", "--output", tmp_path / "clicks.json"]
    assert clicks.main([str(one) for one in arguments]) == 1
    assert "the network takes no clicks" in capfd.readouterr().err


def test_surroundings_of_a_click_are_a_box_of_ten_centimetres():
    volume = Volume(np.zeros((50, 60, 70), np.uint8), Geometry((70, 60, 50), (5.0, 10.0, 4.0)))
    assert near_click(volume, tumour(30, 30, 20)) == (slice(7, 34), slice(25, 36), slice(20, 41))
    assert near_click(volume, background(0, 59, 49)) == (slice(36, 50), slice(54, 60), slice(0, 11))


def test_table_has_medians():
    one = Annotated("sts", "net", "bfloat16", 2.0, 16, 30.0, 500.0)
    for preview, dice in ((1.0, 0.5), (3.0, 1.0), (9.0, 0.9)):
        one.clicks.append(ClickTime("tumor", preview, 40, 80.0, 0.2, 0.1, dice))
    assert to_markdown([one]).splitlines()[2] == (
        "| sts | net | bfloat16 | 16 windows, 30.0 s | 2.00 s | 3.00 s | 1.50 | 40 windows, 80.0 s | 0.20 s | 0.50 GB "
        "| 0.100 | 0.800 |"
    )
