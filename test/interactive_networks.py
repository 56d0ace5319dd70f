"""Random networks that take clicks, and click files for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

INTERACTIVE = CheckpointConfig(
    NetworkConfig("smalldynunet", (2, 3, 4), in_channels=3),
    Preprocessing((4.0, 4.0, 4.0)),
    window=(32, 32, 32),
    channels=Channels.PET_CLICKS,
    clicks=GradedBallEncoding(),
)
GAIN = 20.0  # of the guidance channels, so that clicks change the masks of a random network


def write_interactive_network(path: Path, *, spacing_mm: float = 4.0) -> Path:
    """Write a random network with windows of 32³."""
    config = replace(INTERACTIVE, preprocessing=Preprocessing((spacing_mm,) * 3))
    torch.manual_seed(3)
    state = build_network(config.network).state_dict()
    for name, weights in state.items():
        if weights.ndim == 5 and weights.shape[1] == config.channels.count:  # convolutions of the input
            images = config.channels.image_channels
            state[name] = torch.cat([weights[:, :images], GAIN * weights[:, images:]], dim=1)
    write_checkpoint(Checkpoint(path, config, state), path)
    return path


def click_content(tumor=(), background=(), **more):
    """Return the JSON of a click file of the challenges; points are voxels x, y, z."""
    points = [{"point": list(point), "name": "tumor"} for point in tumor]
    points += [{"point": list(point), "name": "background"} for point in background]
    return json.dumps({"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": points, **more})


def click_file(path, tumor=(), background=(), **more):
    """Write a click file."""
    path.write_text(click_content(tumor, background, **more))
    return path
