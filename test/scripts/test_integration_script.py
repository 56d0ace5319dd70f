"""`.ci/run` with stand-ins for the scripts that it calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import browser
import pytest
from clones import put
from places import ROOT

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
    put(clone.bin / "chromium", "")  # else Debian's would be installed
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


APT_GET = """#!{bash}
echo "$DEBIAN_FRONTEND $*" >>{asked}
echo "said by $*"
case "$*" in *{failing}*) echo "E: no network" >&2; exit 100 ;; esac
"""
INSTALLS = ["update", "install --no-install-recommends chromium"]


@pytest.fixture
def get_browser(tmp_path):
    """Run `get_browser` with nothing on PATH but what it needs, a user's number and the programs of the test."""

    def run(*programs, user=0, failing="nothing"):
        folder, asked = tmp_path / "bin", tmp_path / "asked"
        folder.mkdir()
        for name in ("bash", "env", "tail", "timeout"):
            (folder / name).symlink_to(shutil.which(name))
        put(folder / "id", f"#!{folder}/bash\necho {user}\n")
        for name in programs:
            put(folder / name, APT_GET.format(bash=folder / "bash", asked=asked, failing=failing))
        command = ["bash", "-c", "set -euo pipefail; source .ci/browser.sh; get_browser; echo and on"]
        done = subprocess.run(
            command, cwd=ROOT, env={"PATH": str(folder)}, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == "and on\n"
        return done.stderr, asked.read_text().splitlines() if asked.exists() else []

    return run


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_browser_that_is_there_is_used(get_browser, name):
    assert get_browser("apt-get", name) == ("", [])


def test_integration_installs_chromium_as_root_on_debian(get_browser):
    said, asked = get_browser("apt-get")
    assert said == ""
    assert asked == [f"noninteractive --quiet --yes -o Acquire::Retries=1 {what}" for what in INSTALLS]


@pytest.mark.parametrize("failing", ["update", "install"])
def test_a_failed_installation_of_chromium_is_said_and_the_tests_go_on(get_browser, failing):
    said, asked = get_browser("apt-get", failing=failing)
    assert said == "Chromium could not be installed, the tests of pages are skipped: E: no network\n"
    assert len(asked) == 1 + (failing == "install")


@pytest.mark.parametrize(("programs", "user"), [(("apt-get",), 1000), ((), 0)])
def test_without_root_or_apt_get_nothing_is_installed(get_browser, programs, user):
    said, asked = get_browser(*programs, user=user)
    assert (said.startswith("no browser (chromium chromium-browser google-chrome)"), asked) == (True, [])


def test_the_same_browsers_are_looked_for_by_the_tests():
    said = subprocess.run(["bash", "-c", 'source .ci/browser.sh; echo "${BROWSERS[*]}"'], cwd=ROOT, capture_output=True)
    assert tuple(said.stdout.decode().split()) == browser.NAMES


def test_no_other_script_installs_packages_of_the_system():
    scripts = [ROOT / name for name in ("test.sh", "run.sh", "build.sh", "export.sh")]
    assert not any(word in path.read_text() for path in scripts for word in ("apt-get", "browser.sh"))
