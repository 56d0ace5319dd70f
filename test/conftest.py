from __future__ import annotations

import gc
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from browser import launched
from program import write_two_networks

import process
from swfastedit_core.challenge.options import OPTIONS
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
def weights(tmp_path_factory) -> Path:
    """Write a folder of two small random networks, 1.safetensors and 2.safetensors."""
    return write_two_networks(tmp_path_factory.mktemp("weights"))


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


@pytest.fixture(scope="module")  # Playwright's event loop would be in the way of other modules
def browser():
    """Start a headless browser; skip the test where there is none."""
    with launched() as one:
        yield one


@pytest.fixture
def run(capfd, monkeypatch):
    """Return a function that runs `process.py` in this process: arguments in, exit code and streams out.

    `baked_in` are the options of an image. To start Python and import torch takes two seconds; tests of what only a
    program of its own shows start one.
    """

    def run(*arguments: object, baked_in: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv(OPTIONS, baked_in)
        capfd.readouterr()
        code = process.main([str(argument) for argument in arguments])
        gc.unfreeze()  # a program that ends keeps what it loaded for good, these tests do not
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run
