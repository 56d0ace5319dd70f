"""Self-describing weights, and checkpoints of other programs."""

from swfastedit_core.checkpoint.channels import Channels
from swfastedit_core.checkpoint.folders import STATES_OF_A_RUN, FoundCheckpoints, find_checkpoints
from swfastedit_core.checkpoint.header import CheckpointConfig
from swfastedit_core.checkpoint.kinds import ENDINGS, SUFFIXES
from swfastedit_core.checkpoint.storage import (
    Checkpoint,
    read_checkpoint,
    read_config,
    write_checkpoint,
)

__all__ = [
    "ENDINGS",
    "STATES_OF_A_RUN",
    "SUFFIXES",
    "Channels",
    "Checkpoint",
    "CheckpointConfig",
    "FoundCheckpoints",
    "find_checkpoints",
    "read_checkpoint",
    "read_config",
    "write_checkpoint",
]
