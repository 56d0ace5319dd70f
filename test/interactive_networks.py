"""Random networks that take clicks, and click files for them."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from program import CONFIG

from swfastedit_core.checkpoint import Channels, Checkpoint, write_checkpoint
from swfastedit_core.guidance import GradedBallEncoding
from swfastedit_core.model import NetworkConfig, build_network

INTERACTIVE = replace(
    CONFIG,
    network=NetworkConfig("dynunet", (2,) * 6, in_channels=3),
    channels=Channels.PET_CLICKS,
    clicks=GradedBallEncoding(),
)


def write_interactive_network(path, config=INTERACTIVE, *, gain=20.0):
    """Write a random network. Its guidance channels count `gain` times, so that clicks change masks."""
    torch.manual_seed(3)
    state = build_network(config.network).state_dict()
    images = config.channels.image_channels
    for name, weights in state.items():
        if weights.ndim == 5 and weights.shape[1] == config.channels.count:  # convolutions of the input
            state[name] = torch.cat([weights[:, :images], gain * weights[:, images:]], dim=1)
    write_checkpoint(Checkpoint(path, config, state), path)
    return path


def click_file(path, tumor=(), background=(), **more):
    """Write a click file of the challenges; points are voxels x, y, z."""
    points = [{"point": list(point), "name": "tumor"} for point in tumor]
    points += [{"point": list(point), "name": "background"} for point in background]
    content = {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": points, **more}
    path.write_text(json.dumps(content))
    return path
