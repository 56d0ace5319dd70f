"""`.ci/run` with stand-ins for the scripts that it calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from clones import put

# Stands for a script that .ci/run calls: writes down where, with which home and with which settings it is called.
CALLED = r"""#!/usr/bin/env bash
top=$(cd "$(dirname "$0")" && pwd)
find "$HOME" -mindepth 1 -print -quit | grep -q . && home=used || home=empty
beside=$(ls -A "$top/..")
touch "$HOME/settings"
echo "${0##*/} $*|$top|$home|${beside//$'
'/ }|$SWFASTEDIT_VENV" >>"$TMPDIR/../called"
"""


@pytest.mark.parametrize("setting", ["absolute", "../venv", ""])
def test_integration_runs_native_and_long_tests_in_a_lone_copy(setting, clone, tmp_path):
    for name in ("build.sh", "test.sh", "export.sh"):
        put(clone.top / name, CALLED)
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "x")):
        subprocess.run([*git, *command], cwd=clone.top, check=True)
    shallow = ("clone", "--quiet", "--depth=1", clone.top.as_uri(), str(tmp_path / "shallow"))
    subprocess.run([*git, *shallow], check=True)
    clone.answers("docker")
    put(tmp_path / "home/.config/pip/pip.conf", "")
    (tmp_path / "scratch").mkdir()
    venv = str(clone.venv) if setting == "absolute" else setting
    shallow, scratch = tmp_path / "shallow", tmp_path / "scratch"
    shutil.copytree(clone.venv, shallow / ".venv")
    done = clone.run(str(shallow / ".ci/run"), HOME=str(tmp_path / "home"), TMPDIR=str(scratch), SWFASTEDIT_VENV=venv)
    assert (done.returncode, done.stderr) == (0, "")
    called = [line.split("|") for line in (tmp_path / "called").read_text().splitlines()]
    assert [line[0].strip() for line in called] == [
        *("test.sh --native", "test.sh --long", "test.sh --real"),
        *("build.sh", "test.sh --container --no-faults", "build.sh", "test.sh --container", "export.sh"),
    ]
    for _, top, home, beside, _ in called[:2]:
        assert (Path(top).name, Path(top).is_relative_to(scratch), home, beside) == ("clone", True, "empty", "clone")
    assert {(top, home) for _, top, home, *_ in called[2:]} == {(str(shallow), "used")}
    assert {Path(line[-1]).resolve() for line in called} == {clone.venv if setting else shallow / ".venv"}
    assert list(scratch.iterdir()) == []
