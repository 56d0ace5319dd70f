"""Self-describing weights, and checkpoints of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swfastedit_core.lazy import imported_on_use

if TYPE_CHECKING:
    from swfastedit_core.checkpoint.channels import Channels
    from swfastedit_core.checkpoint.folders import STATES_OF_A_RUN, FoundCheckpoints, find_checkpoints
    from swfastedit_core.checkpoint.header import CheckpointConfig
    from swfastedit_core.checkpoint.kinds import ENDINGS, SUFFIXES
    from swfastedit_core.checkpoint.storage import Checkpoint, read_checkpoint, read_config, write_checkpoint

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

_MODULES = {
    "Channels": "channels",
    "STATES_OF_A_RUN": "folders",
    "FoundCheckpoints": "folders",
    "find_checkpoints": "folders",
    "CheckpointConfig": "header",
    "ENDINGS": "kinds",
    "SUFFIXES": "kinds",
    "Checkpoint": "storage",
    "read_checkpoint": "storage",
    "read_config": "storage",
    "write_checkpoint": "storage",
}
__getattr__ = imported_on_use(__name__, _MODULES)
