"""`run.sh` in a copy of the repository."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from clones import put
from places import ROOT

PROGRAM = '#!/usr/bin/env bash\nprintf "%s\\n" "$SWFASTEDIT_OPTIONS" >"$(dirname "$0")/options"\n'


def options(clone):
    """Return the default options that the program got."""
    return shlex.split((clone.venv / "bin/options").read_text())


def test_run_finds_the_clone_through_a_link(clone, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(clone.top / "run.sh")
    done = clone.run(str(link), "--pet", "x")
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.tools() == [f"python {clone.top}/process.py --pet x"]


@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_chained_and_relative_links_are_followed_where_they_lie(script, clone, tmp_path):
    """Folder `x/a/deep` is reached as `x/other`: `..` in a link means the parent of `deep`, not of `other`."""
    (tmp_path / "x/a/deep").mkdir(parents=True)
    (tmp_path / "x/mine").symlink_to(clone.top)
    (tmp_path / "mine").mkdir()  # where `..` would lead if it meant the parent of `other`
    (tmp_path / "x/a/first").symlink_to(f"../mine/{script}")
    (tmp_path / "x/a/deep/second").symlink_to("../first")
    (tmp_path / "x/other").symlink_to("a/deep")
    (tmp_path / "elsewhere/x/other").mkdir(parents=True)
    settings = {"CDPATH": str(tmp_path / "elsewhere"), "SWFASTEDIT_VENV": str(clone.venv), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "x/other/second", "--native" if script == "test.sh" else "--pet"],
        **{"cwd": tmp_path, "env": {**os.environ, **settings}, "capture_output": True, "text": True, "check": False},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "process.py" in clone.tools()[-2 if script == "test.sh" else -1]


@pytest.mark.parametrize("script", ["run.sh", "test.sh", "build.sh", "export.sh"])
def test_help_through_a_link_with_cdpath(script, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / f"links/{script}").symlink_to(ROOT / script)
    (tmp_path / "other/links").mkdir(parents=True)
    settings = {"CDPATH": str(tmp_path / "other"), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", f"links/{script}", "--help"],
        **{"cwd": tmp_path, "env": {**os.environ, **settings}, "capture_output": True, "text": True, "check": False},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 5


@pytest.mark.parametrize("arguments", [(), ("--quiet",), ("--device", "cpu"), ("--output", "masks")])
def test_without_a_scan_the_test_scan_is_the_default(arguments, clone, tmp_path):
    top = tmp_path / "it's a clone"
    clone.top = clone.top.rename(top)
    put(clone.venv / "bin/python", PROGRAM)
    done = clone.run("run.sh", *arguments, SWFASTEDIT_OPTIONS="--region 'full'")
    assert (done.returncode, done.stderr) == (0, "")
    assert options(clone) == ["--input", f"{top}/test/input", "--output", f"{top}/output", "--region", "full"]
    said = f"the scan is in {top}/test/input; its mask will be below {top}/output\n"
    assert done.stdout == ("" if arguments else said)


@pytest.mark.parametrize("arguments", [("--pet", "x"), ("--pet=x",), ("--input", "x"), ("--api-method", "invoke")])
def test_with_a_scan_there_are_no_defaults(arguments, clone):
    put(clone.venv / "bin/python", PROGRAM)
    assert clone.run("run.sh", *arguments, SWFASTEDIT_OPTIONS="--vote").returncode == 0
    assert options(clone) == ["--vote"]


def test_clone_that_cannot_be_written_has_its_output_in_the_working_directory(clone, tmp_path, without_rights):
    put(clone.venv / "bin/python", PROGRAM)
    clone.top.chmod(0o555)
    env = {**os.environ, "PYTHON": sys.executable, "SWFASTEDIT_VENV": str(clone.venv)}
    command = [*without_rights, "bash", clone.top / "run.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    clone.top.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert options(clone)[-1] == str(tmp_path / "output")
    assert done.stdout.endswith(f"its mask will be below {tmp_path}/output\n")


@pytest.mark.parametrize("arguments", [("--help",), ("--device", "cpu", "-h")])
def test_help_needs_no_installation(arguments, tmp_path):
    """The interpreter sees no installed packages."""
    put(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    venv = tmp_path / "environment"
    env = {**os.environ, "PYTHON": str(tmp_path / "python"), "SWFASTEDIT_VENV": str(venv), "PYTHONPATH": ""}
    done = subprocess.run(
        [ROOT / "run.sh", *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--min-lesion-ml ML" in done.stdout
    assert not venv.exists()


def test_newer_python_is_taken_if_python3_is_too_old(clone, tmp_path):
    for name in ("python3", "python3.14", "python3.13"):
        put(tmp_path / "old" / name, '#!/bin/sh\n[ "$1" != --version ] || echo Python 3.9.6\nexit 1\n')
    (tmp_path / "old/python3.12").symlink_to(sys.executable)
    search = f"{tmp_path / 'old'}:{os.environ['PATH']}"
    done = clone.run("run.sh", PYTHON="", PATH=search)
    assert (done.returncode, done.stderr) == (0, "")
    done = clone.run("run.sh", PYTHON=str(tmp_path / "old/python3"), PATH=search)
    reason = "Python 3.9.6 is too old: install Python 3.11 or newer, or set PYTHON to one\n"
    assert (done.returncode, done.stderr) == (1, reason)
    done = clone.run("run.sh", PYTHON="python9")
    assert (done.returncode, done.stderr) == (
        1,
        "no python9 found: install Python 3.11 or newer, or set PYTHON to one\n",
    )
    assert shutil.which("python9") is None


def test_tests_refuse_a_clone_that_cannot_be_written(clone, tmp_path, without_rights):
    clone.top.chmod(0o555)
    env = {**os.environ, "PYTHON": sys.executable, "SWFASTEDIT_VENV": str(clone.venv)}
    command = [*without_rights, "bash", clone.top / "test.sh", "--native"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    clone.top.chmod(0o755)
    reason = (
        f"{clone.top}: cannot be written, and the tools write their caches there; copy the clone and test the copy\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
