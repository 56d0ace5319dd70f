"""The installation into the environment: signals, two at a time, what a killed one left, progress, reasons."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import installation
import progress
import psutil
import pytest
from clones import put
from environment import read_requirements

# Makes environments without packages. Its pip says "begin", waits while a file named wait exists, and says "end".
SLOW_PYTHON = r"""#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
"-m venv "*)
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" "$3/bin/activate"
    ;;
"-m pip --version") ;;
"-m pip install"*)
    trap 'echo ended >>{log}; exit 1' TERM INT HUP
    echo "begin" >>{log}
    touch "$TMPDIR/half"
    while [ -e {wait} ]; do sleep 0.05; done
    echo "end" >>{log}
    ;;
*) exec {python} "$@" ;;
esac
"""
NOTICE = 2  # lines that say how long it takes
INTERRUPTED = "interrupted; the next call goes on with the installation"


class Installations:
    """Calls of `run.sh` in a clone, with a pip that waits."""

    def __init__(self, clone, tmp_path):
        self.clone, self.venv = clone, tmp_path / "environment"
        self.log, self.wait = tmp_path / "log", tmp_path / "wait"
        self.wait.touch()
        text = SLOW_PYTHON.replace("{log}", str(self.log)).replace("{wait}", str(self.wait))
        put(tmp_path / "slow-python", text.replace("{python}", sys.executable))
        put(clone.top / "process.py", "print('the program runs')\n")
        self.env = {**os.environ, "PYTHON": str(tmp_path / "slow-python"), "SWFASTEDIT_VENV": str(self.venv)}

    def start(self):
        """Start one in a process group of its own, as a shell on a terminal does."""
        return subprocess.Popen(
            ["bash", self.clone.top / "run.sh", "--pet", "x"],
            **{"env": self.env, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
            start_new_session=True,
        )

    def logged(self):
        return self.log.read_text().split() if self.log.exists() else []

    def until(self, lines):
        end = time.monotonic() + 60
        while self.logged() != lines:
            assert time.monotonic() < end, self.logged()
            time.sleep(0.02)


@pytest.fixture
def installations(clone, tmp_path):
    return Installations(clone, tmp_path)


def child(script):
    """Return the process of environment.py."""
    (process,) = psutil.Process(script.pid).children()
    return process


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.splitlines()


def test_second_call_waits_for_the_installation_of_the_first(installations):
    first = installations.start()
    installations.until(["begin"])
    second = installations.start()
    assert second.stderr.readline() == f"waiting: another process installs into {installations.venv}\n"
    installations.wait.unlink()
    assert finish(first)[:2] == (0, "the program runs\n")
    assert finish(second) == (0, "the program runs\n", [])
    assert installations.logged() == ["begin", "end"]


def test_lock_is_released_when_the_pip_of_a_killed_call_has_ended(installations):
    first = installations.start()
    installations.until(["begin"])
    os.killpg(first.pid, signal.SIGSTOP)
    child(first).send_signal(signal.SIGKILL)  # its pip goes on
    os.killpg(first.pid, signal.SIGCONT)
    first.wait(60)
    second = installations.start()
    assert second.stderr.readline().startswith("waiting: ")
    assert installations.logged() == ["begin"]
    installations.wait.unlink()
    assert finish(second)[:2] == (0, "the program runs\n")
    assert installations.logged() == ["begin", "end", "begin", "end"]


@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C", "one process"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_installation_ends_in_one_line_and_goes_on_later(number, whole_group, installations):
    process = installations.start()
    installations.until(["begin"])
    if whole_group:
        os.killpg(process.pid, number)
    else:
        child(process).send_signal(number)
    code, out, err = finish(process)
    assert (out, err[NOTICE:]) == ("", [INTERRUPTED])
    assert code == (-number if whole_group and number != signal.SIGINT else 128 + number)
    installations.until(["begin", "ended"])
    assert not (installations.venv / "tmp").exists()
    assert not (installations.venv / "installed.txt").exists()
    installations.wait.unlink()
    assert finish(installations.start())[:2] == (0, "the program runs\n")


def test_installation_ends_when_the_script_is_killed(installations):
    process = installations.start()
    installations.until(["begin"])
    process.kill()
    installations.until(["begin", "ended"])
    _, err = process.communicate(timeout=60)
    assert err.splitlines()[NOTICE:] == [INTERRUPTED]


def test_parts_of_packages_that_a_killed_pip_left_are_removed(installations):
    packages = installations.venv / "lib/python3.11/site-packages"
    for name in ("whole-1.dist-info/RECORD", "whole-1.dist-info/METADATA", "part-1.dist-info/METADATA", "~rch/x.py"):
        put(packages / name, "")
    put(installations.venv / ".swfastedit", "")
    put(installations.venv / "tmp/pip-unpack-1/torch.whl", "a part")
    put(installations.venv / "bin/activate", "")
    (installations.venv / "bin/python").symlink_to(installations.env["PYTHON"])
    installations.wait.unlink()
    assert finish(installations.start())[0] == 0
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]
    assert not (installations.venv / "tmp").exists()


@pytest.mark.parametrize(
    ("broken", "activate"),
    [
        ("lib/python3.11/site-packages/pip-23.2.1.dist-info/METADATA", True),
        ("lib/python3.10/site-packages/a/b", True),  # the system's Python was upgraded
        ("lib/python3.11/site-packages/pip-23.2.1.dist-info/RECORD", False),  # killed between pip and the last files
    ],
)
def test_environment_with_half_a_pip_or_for_another_python_is_made_again(broken, activate, installations, tmp_path):
    put(installations.venv / broken, "")
    put(installations.venv / ".swfastedit", "")
    put(installations.venv / "pyvenv.cfg", "")
    wanted = "\n".join(read_requirements(installations.clone.top, []))
    put(installations.venv / "installed.txt", wanted if "3.10" in broken else "")
    put(tmp_path / "bin/python3.11", Path(installations.env["PYTHON"]).read_text())
    if activate:
        put(installations.venv / "bin/activate", "")
    (installations.venv / "bin").mkdir(exist_ok=True)
    (installations.venv / "bin/python").symlink_to(tmp_path / "bin/python3.11")
    installations.wait.unlink()
    assert finish(installations.start())[0] == 0
    assert not (installations.venv / "lib").exists()


NOT_FOUND = "ERROR: No matching distribution found for x==1\n"
RETRY = "WARNING: Retrying (Retry(total=4, connect=None, read=None)) after connection broken by '{}': /simple/torch/\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            ["ERROR: Could not find a version of x==1 (from versions: none)\n", NOT_FOUND],
            "No matching distribution found for x==1",
        ),
        (
            [RETRY.format("NewConnectionError('<x>: Failed: [Errno -2] Name or service not known')"), NOT_FOUND],
            "no connection to the package index ([Errno -2] Name or service not known)",
        ),
        (
            [RETRY.format("ReadTimeoutError(\"HTTPSConnectionPool(host='x'): Read timed out. (read timeout=15)\")")],
            "no connection to the package index (timed out)",
        ),
        (
            ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", "\n"],
            "Could not install packages due to an OSError: [Errno 28] No space left on device",
        ),
        (
            [
                RETRY.format("ReadTimeoutError('<x>: Read timed out.')"),
                "Collecting torch==2.13.0\n",
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            ],
            "Could not install packages due to an OSError: [Errno 28] No space left on device",
        ),
        (["Traceback (most recent call last):\n", "KeyError: 'x'\n"], "KeyError: 'x'"),
        ([], "it said nothing"),
    ],
)
def test_reason_of_pip_is_given(said, reason):
    assert installation.find_reason(said) == reason


def test_failed_installation_gives_one_line_and_keeps_what_pip_said(installations, tmp_path):
    python = Path(installations.env["PYTHON"])
    put(python, python.read_text().replace('"begin" >>', '"ERROR: the disk is full"; exit 1; echo >>'))
    code, out, err = finish(installations.start())
    log = installations.venv / "pip.log"
    assert (code, out) == (1, "")
    assert err[NOTICE:] == [f"pip failed: the disk is full; all that it said is in {log}"]
    assert log.read_text() == "ERROR: the disk is full\n"


SAID = """Collecting torch==2.13.0 (from -r requirements.txt (line 1))
  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.4 MB)
Collecting numpy==2.4.6 (from -r requirements.txt (line 2))
  Using cached numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.6 MB)
Requirement already satisfied: pip in ./lib
Installing collected packages: numpy, torch
""".splitlines()
STATES = [
    "looking for torch (1 packages)",
    "downloading torch, 50 of 190 MB (1 packages, 50 MB)",
    "downloading torch, 50 of 190 MB (2 packages, 50 MB)",
    "downloading numpy, 0 of 17 MB (2 packages, 190 MB)",
    "downloading numpy, 0 of 17 MB (2 packages, 190 MB)",
    "installing torch (2 of 2 packages)",
]


@pytest.fixture
def folders(tmp_path):
    """Make the folders that pip works in: 50 MB of torch are there, and a package besides pip."""
    part = tmp_path / "tmp/pip-unpack-a/torch-2.13.0-cp311.whl"
    put(part, "")
    os.truncate(part, 50_000_000)
    put(tmp_path / "lib/python3.11/site-packages/pip-1.dist-info/RECORD", "")
    return tmp_path, tmp_path / "tmp"


def say_all(folders):
    with progress.Progress(*folders) as shown:
        for line in SAID:
            shown.read(f"{line}\n")
            if line.startswith("Installing"):
                put(folders[0] / "lib/python3.11/site-packages/numpy-1.dist-info/RECORD", "")
            shown.show()


def test_progress_is_a_line_now_and_then(folders, capsys, monkeypatch):
    say_all(folders)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    (folders[0] / "lib/python3.11/site-packages/numpy-1.dist-info/RECORD").unlink()
    say_all(folders)
    assert capsys.readouterr().err.splitlines() == [f"0 s: {state}" for state in STATES]


def test_progress_on_a_terminal_is_one_line_that_changes(folders, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal, end = pty.openpty()
    with open(end, "w") as stream:  # noqa: PTH123 # a descriptor
        monkeypatch.setattr(sys, "stderr", stream)
        say_all(folders)
        shown, expected = "", "".join(f"\r\033[K{state[:39]}" for state in dict.fromkeys(STATES)) + "\r\033[K"
        while len(shown) < len(expected):
            shown += os.read(terminal, 1000).decode()
    os.close(terminal)
    assert shown == expected
