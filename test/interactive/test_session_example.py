"""The examples of docs/interactive.md run."""

from __future__ import annotations

import re

import numpy as np
import SimpleITK as sitk
import torch
from places import ROOT
from program import scan

from swfastedit_core import load_networks, read_volume, segment
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = scan()
    image.SetOrigin((60.0, 120.5, -300.0))  # the click in mm lies at voxel (20, 18, 20)
    sitk.WriteImage(image, "pet.nii.gz")
    network = NetworkConfig("smalldynunet", (2, 2, 2), in_channels=3)
    config = CheckpointConfig(
        network, Preprocessing((4.0, 4.0, 4.0)), (16, 16, 16), channels=Channels.PET_CLICKS, clicks=GradedBallEncoding()
    )
    torch.manual_seed(1)
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "interactive.safetensors"
    write_checkpoint(Checkpoint(path, config, build_network(network).state_dict()), path)
    section = (ROOT / "docs" / "interactive.md").read_text().partition("## From Python\n")[2]
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(code, names)
    written = sitk.GetArrayFromImage(sitk.ReadImage("lesions.nii.gz"))
    clicks = [Click(ClickKind.TUMOUR, (20, 18, 15))]
    expected = segment(read_volume("pet.nii.gz"), load_networks(path), clicks=clicks).mask.array_zyx
    assert np.mean(written != expected) < 1e-3
    assert names["update"].settled
    assert not names["preview"].settled
    assert len(names["sessions"]) == 1
