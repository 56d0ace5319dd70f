"""Weights to begin with, instead of random ones: fine-tuning."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, read_checkpoint
from swfastedit_core.errors import UserError


def read_initial_weights(path: Path, config: CheckpointConfig) -> Checkpoint:
    """Read weights that a run may go on from.

    They have learned what their network, channels, voxels and intensities mean, so these must be those of the run.
    The window may be another one: the network is convolutional.

    Parameters
    ----------
    path
        Weights of a run, or the authors' ``.pt``.
    config
        Of the run.

    Raises
    ------
    UserError
        If the file cannot be read, or is for something else than the run.
    """
    checkpoint = read_checkpoint(path)
    for what in ("network", "channels", "preprocessing"):
        theirs, ours = getattr(checkpoint.config, what), getattr(config, what)
        if theirs != ours:
            raise UserError(
                f"{path}: the weights have another {what} than the run: {_describe_difference(theirs, ours)}"
            )
    return checkpoint


def _describe_difference(theirs: Any, ours: Any) -> str:
    """Name the fields that differ."""
    if not is_dataclass(theirs) or type(theirs) is not type(ours):
        return f"{_plain(theirs)}, not {_plain(ours)}"
    pairs = ((field.name, getattr(theirs, field.name), getattr(ours, field.name)) for field in fields(theirs))
    return "; ".join(f"{name} {_plain(their)}, not {_plain(our)}" for name, their, our in pairs if their != our)


def _plain(value: Any) -> str:
    value = value.names if isinstance(value, Channels) else value
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def describe_origin(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what weights that began with others say of those."""
    return {
        "file": checkpoint.path.name,
        "licence": checkpoint.config.licence,
        "training": checkpoint.config.training,
    }
