"""Fine-tuning: a run that starts with trained weights instead of random ones."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_checkpoint
from swfastedit_core.errors import UserError

FIRST_CONVOLUTIONS = ("input_block.conv1.conv.weight", "input_block.conv3.conv.weight")
BEST, LAST = "best.safetensors", "last.safetensors"


def read_initial_weights(path: Path, config: CheckpointConfig) -> Checkpoint:
    """Read weights for the start of a run.

    Network, channels and preprocessing must be the same as in the run, because the weights depend on them. The window
    may differ: the network is convolutional. A network that takes clicks may start from one that does not: the weights
    of its guidance channels are then 0 at the start.

    Parameters
    ----------
    path
        Weights of a run, or the authors' ``.pt``.
    config
        Configuration of the run.

    Raises
    ------
    UserError
        If the file cannot be read, or its network, channels or preprocessing differ.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "no such file"
        stage = f"; the run with --output {path.parent} writes it, so train this earlier stage first"
        raise UserError(f"--start-from {path}: {what}{stage if path.name in (BEST, LAST) else ', expected weights'}")
    checkpoint = read_checkpoint(path)
    if config.channels.takes_clicks and not checkpoint.config.channels.takes_clicks:
        checkpoint = _with_guidance_channels(checkpoint, config)
    for what in ("network", "channels", "clicks", "preprocessing"):
        theirs, ours = getattr(checkpoint.config, what), getattr(config, what)
        if theirs != ours:
            raise UserError(
                f"{path}: the weights have another {what} than the run: {_describe_difference(theirs, ours)}"
            )
    return checkpoint


def _with_guidance_channels(checkpoint: Checkpoint, config: CheckpointConfig) -> Checkpoint:
    """Add input channels with weights of 0."""
    channels = checkpoint.config.channels.with_clicks
    network = replace(checkpoint.config.network, in_channels=channels.count)
    tensors = dict(checkpoint.tensors)
    for name in FIRST_CONVOLUTIONS:
        weight = tensors[name]
        added = weight.new_zeros((weight.shape[0], channels.count - weight.shape[1], *weight.shape[2:]))
        tensors[name] = torch.cat([weight, added], dim=1)
    described = replace(checkpoint.config, network=network, channels=channels, clicks=config.clicks)
    return replace(checkpoint, config=described, tensors=tensors)


def _describe_difference(theirs: Any, ours: Any) -> str:
    """List the fields that differ, with both values."""
    if not is_dataclass(theirs) or type(theirs) is not type(ours):
        return f"{_text(theirs)} instead of {_text(ours)}"
    pairs = ((field.name, getattr(theirs, field.name), getattr(ours, field.name)) for field in fields(theirs))
    return "; ".join(f"{name} {_text(their)} instead of {_text(our)}" for name, their, our in pairs if their != our)


def _text(value: Any) -> str:
    value = value.names if isinstance(value, Channels) else value
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def with_terms_of_origin(config: CheckpointConfig, origin: dict[str, Any] | None) -> CheckpointConfig:
    """Return the header of fine-tuned weights, whose terms follow those of the initial weights.

    Weights that began with a demonstration are one. Licence and attribution are those of the initial weights if the run
    names none.

    Parameters
    ----------
    config
        Header of the run.
    origin
        From `describe_origin`; None for a run that began with random weights.
    """
    if origin is None:
        return config
    unnamed = CheckpointConfig(config.network, channels=config.channels, clicks=config.clicks)
    return replace(
        config,
        licence=origin["licence"] if config.licence == unnamed.licence else config.licence,
        attribution=config.attribution or origin["attribution"],
        demonstration=config.demonstration or origin["demonstration"],
    )


def describe_origin(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the provenance of initial weights, as fine-tuned weights store it."""
    return {
        "file": checkpoint.path.name,
        "licence": checkpoint.config.licence,
        "attribution": checkpoint.config.attribution,
        "demonstration": checkpoint.config.demonstration,
        "training": checkpoint.config.training,
    }
