"""The lock of a run's folder: a second training process is refused, and nothing else is."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from runs import NARROW
from safetensors.torch import load_file

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.run import run_lock
from swfastedit_core.train.run.fabric import launch_fabric
from swfastedit_core.train.run.run_lock import locked_run

HOLD = """
import os, signal, sys, types
from pathlib import Path
from swfastedit_core.train.run.run_lock import locked_run
alone = types.SimpleNamespace(is_global_zero=True, broadcast=lambda value: value)
with locked_run(Path(sys.argv[1]), alone, say=print):
    print("locked", flush=True)
    if os.fork() == 0:
        os.close(1)
        signal.pause()  # a process of the run that outlives it
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(folder):
    """Lock the folder in a process, which has a child; yield the process."""
    start = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(start, **pipes, start_new_session=True)
    try:
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def test_second_process_is_refused_until_the_first_is_killed(tmp_path, capfd):
    run = tmp_path / "run"
    config = CheckpointConfig(NetworkConfig("smalldynunet", (2, 2, 2)), training={"step": 1, "steps": 2})
    weights = build_network(config.network).state_dict()
    write_checkpoint(Checkpoint(run, config, weights), run / "last.safetensors")
    alone = launch_fabric(torch.device("cpu"), "float32")
    with held_by_another_process(run) as process:
        for more in ([], ["--resume-or-start"]):
            assert command.main(["--output", str(run), *NARROW, "--data", "phantom:1", *more]) == 1
            assert capfd.readouterr().err == (
                f"{run}: process {process.pid} on {os.uname().nodename} trains in this folder; wait for it or end it, "
                "or choose another --output\n"
            )
        assert sorted(path.name for path in run.iterdir()) == ["last.safetensors", "lock"]
        assert command.main(["export", str(run), str(tmp_path / "out")]) == 0
        process.kill()
        process.wait()
        with locked_run(run, alone, say=print):  # although a child of the killed process lives
            assert (run / "lock").read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"
    assert (run / "lock").read_text() == ""
    exported = load_file(tmp_path / "out" / "run.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in exported.items())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_gets_a_notice(number, tmp_path, monkeypatch):
    def lockf(*_):
        raise OSError(number, os.strerror(number))

    said, ran = [], []
    monkeypatch.setattr(fcntl, "lockf", lockf)
    with locked_run(tmp_path, launch_fabric(torch.device("cpu"), "float32"), say=said.append):
        ran.append(1)
    assert ran
    assert said == [
        f"notice: {tmp_path / 'lock'}: cannot be locked ({os.strerror(number)}); make sure that no other process "
        "trains in this folder"
    ]


def test_lock_file_that_cannot_be_opened_gets_a_notice(tmp_path):
    (tmp_path / run_lock.LOCK).mkdir()
    said = []
    with locked_run(tmp_path, launch_fabric(torch.device("cpu"), "float32"), say=said.append):
        pass
    assert "cannot be locked (Is a directory)" in said[0]
