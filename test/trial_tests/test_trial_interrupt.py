"""A trial that a signal ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from clones import put
from places import ROOT

HANGS = r"""#!/usr/bin/env bash
here=$(dirname "${BASH_SOURCE[0]}")
printf '%s ' "$@" >>"$here/log"
echo >>"$here/log"
case "$*" in
"image inspect"*) echo '[{"Os": "linux", "Architecture": "amd64", "Config": {}}]' ;;
create*) echo 0123 ;;
start*) touch "$here/started" && exec sleep 60 ;;
esac
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_interrupted_trial_removes_its_container_and_folders(number, tmp_path):
    put(tmp_path / "engine", HANGS)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "trial", "--engine", tmp_path / "engine", "--image", "x", "--only", "test/input"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "test"), "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert "rm --force 0123 " in (tmp_path / "log").read_text().splitlines()
    assert list((tmp_path / "tmp").iterdir()) == []
