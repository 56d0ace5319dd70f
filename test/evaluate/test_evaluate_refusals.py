"""What the command refuses before it reads a mask, and how it ends when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from places import ROOT
from tiny_masks import mask, run_evaluate, write

CUBE = (slice(0, 2), slice(0, 2), slice(0, 2))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "the following arguments are required: --output"),
        (("--output", "o"), "nothing to score: give --predictions"),
        (("--output", "o", "--predictions", "p"), "--predictions needs --labels, too"),
        (("--output", "o", "--predictions", ""), "an empty name, expected a file or folder"),
        (("--output", "o", "--predictions", "none", "--labels", "none"), "--labels none: cannot be read (No such file"),
        (("--output", "/proc/o", "--predictions", "p", "--labels", "l"), "/proc: metrics.json cannot be written there"),
        (
            ("--output", "o", "--predictions", "p", "--labels", "l", "--tolerance-mm", "-1"),
            "--tolerance-mm -1: expected",
        ),
        (("--output", "o", "--predictions", "p", "--labels", "l", "--tolerance-mm", "inf"), "--tolerance-mm inf"),
        (
            ("--output", "o", "--predictions", "p", "--labels", "l", "--workers", "-1"),
            "--workers -1: expected 0 or more",
        ),
        (("--output", "o", "--predictions", "p", "--labels", "l", "--rules", "autopet1"), "invalid choice: 'autopet1'"),
        (("--output", "o", "--predictions", "p", "--labels", "l", "--lesion-labels", "0"), "--lesion-labels 0: is the"),
    ],
)
def test_command_refuses_in_one_line(arguments, reason, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_evaluate(capfd, *arguments)
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.long
def test_program_in_processes_is_interrupted_without_files(tmp_path):
    """400 cases take longer than the signal."""
    for number in range(2):
        write(mask(CUBE), tmp_path / "labels" / f"{number}.mha")
        write(mask(CUBE), tmp_path / "masks" / f"{number}.mha")
    many = [f"{number}.mha" for number in range(2, 400)]
    for name in many:
        os.link(tmp_path / "labels" / "0.mha", tmp_path / "labels" / name)
        os.link(tmp_path / "masks" / "0.mha", tmp_path / "masks" / name)
    program = [sys.executable, "-m", "swfastedit_core.evaluate", "--workers", "1", "--output", str(tmp_path / "o")]
    program += ["--labels", str(tmp_path / "labels"), "--predictions", str(tmp_path / "masks")]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "scored: 1 of 400 cases\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("interrupted")  # and how many cases were scored, if the machine is not too slow for that
    assert not (tmp_path / "o").exists()
