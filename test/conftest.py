from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network


@pytest.fixture(scope="session")
def narrow_checkpoint(tmp_path_factory) -> Path:
    """Write a narrow `dynunet` with random weights, the recipe's preprocessing and windows of 64³."""
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    config = CheckpointConfig(NetworkConfig("dynunet", (4, 4, 8, 8, 8, 8)), window=(64, 64, 64))
    torch.manual_seed(0)
    write_checkpoint(Checkpoint(path, config, build_network(config.network).state_dict()), path)
    return path


@pytest.fixture(scope="session")
def without_rights() -> tuple[str, ...]:
    """Return what goes before a command so that file permissions hold for it, for root as well."""
    if os.geteuid():
        return ()
    rights = "-dac_override,-dac_read_search"
    before = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    if not shutil.which("setpriv") or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may read and write everywhere")
    return before
