"""The environment that the scripts make: `.ci/environment.sh`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clones import put
from environment import read_requirements

# Makes environments without packages. `BREAKS` ends venv half-way; a file named offline in the environment fails pip.
PLAYED_PYTHON = r"""#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
"-m venv "*)
    if [ -n "${BREAKS:-}" ]; then mkdir -p "$3/lib/half" && exit 1; fi
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" "$3/bin/activate"
    ;;
"-m pip --version") [ -f "$here/../pyvenv.cfg" ] ;;
"-m pip install"*) echo "$* ${PIP_TARGET:-}" >>"$here/pip.log" && [ ! -f "$here/../offline" ] ;;
*) exec {python} "$@" ;;
esac
"""
NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}  # if a check fails, pip ends at once
REFUSED = "{}: holds other files and is not changed; set SWFASTEDIT_VENV to a new or an empty folder\n"


MAKE = 'source .ci/environment.sh; make_environment "$PWD"; echo "VENV=$VENV"'  # what run.sh does before the program


def played_python(clone):
    played = clone.bin / "played-python"
    put(played, PLAYED_PYTHON.replace("{python}", sys.executable))
    return str(played)


def make_environment(clone, **settings):
    return clone.run("-euc", MAKE, PYTHON=played_python(clone), **settings)


def content(folder):
    """Return what is below a folder: the bytes and mode of files, the targets of links, None for folders."""

    def entry(path):
        if path.is_symlink():
            return path.readlink()
        return None if path.is_dir() else (path.read_bytes(), path.stat().st_mode)

    return {str(path.relative_to(folder)): entry(path) for path in folder.rglob("*")}


def test_environment_is_made_marked_and_used_again(clone, tmp_path):
    venv = tmp_path / "a folder" / "environment"
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv))
    assert (done.returncode, done.stdout) == (0, f"VENV={venv}\n")
    assert (venv / ".swfastedit").is_file()
    before = content(venv)
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"VENV={venv}\n", "")
    assert content(venv) == before


@pytest.mark.parametrize("files", [("bin/python", "pyvenv.cfg", "installed.txt"), ("thesis.tex",), (".hidden",)])
def test_folder_of_somebody_else_is_refused_and_left_as_it_is(files, clone, tmp_path):
    venv = tmp_path / "mine"
    for name in files:
        put(venv / name, f"content of {name}")
    before = content(venv)
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv))
    assert (done.returncode, done.stderr) == (1, REFUSED.format(venv))
    assert content(venv) == before


def test_environment_of_another_project_in_the_settings_is_not_looked_at(clone, tmp_path):
    put(tmp_path / "other/pyvenv.cfg", "theirs")
    before = content(tmp_path / "other")
    done = make_environment(
        clone, VENV=str(tmp_path / "other"), VIRTUAL_ENV=str(tmp_path / "other"), SWFASTEDIT_VENV=""
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"VENV={clone.top / '.venv'}")
    assert content(tmp_path / "other") == before


@pytest.mark.parametrize("command", [("run.sh",), pytest.param(("test.sh", "--native"), marks=pytest.mark.long)])
@pytest.mark.parametrize("pip", ["--without-pip", "--system-site-packages"])  # the first one as uv makes it
@pytest.mark.long
def test_scripts_refuse_a_real_environment_of_another_project(command, pip, clone, tmp_path):
    venv = tmp_path / "an environment"
    subprocess.run([sys.executable, "-m", "venv", pip, str(venv)], check=True)
    before = content(venv)
    done = clone.run(*command, SWFASTEDIT_VENV=str(venv), **NO_PACKAGES)
    refused = (
        REFUSED.format(venv).rstrip() + r", or install torch==\S+ and \d+ others of requirements.txt into this one\n"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(refused, done.stderr)
    assert content(venv) == before


def test_environment_of_another_tool_that_has_the_requirements_is_used_and_left_as_it_is(clone):
    """As `uv venv && uv pip install -r requirements.txt` makes it: without pip."""
    venv = clone.top / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = venv / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    pins = [line.split(";")[0].split("==") for line in read_requirements(clone.top, [])]
    for name, version in pins:
        local = "+cpu" if name == "torch" else ""
        put(
            packages / f"{name.replace('-', '_')}-{version}.dist-info/METADATA",
            f"Name: {name}\nVersion: {version}{local}\n",
        )
    before = content(venv)
    done = make_environment(clone, SWFASTEDIT_VENV="")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"VENV={venv}\n", "")
    assert content(venv) == before
    put(packages / f"scipy-{dict(pins)['scipy']}.dist-info/METADATA", "Name: scipy\nVersion: 1.0\n")
    done = make_environment(clone, SWFASTEDIT_VENV="")
    missing = f", or install scipy=={dict(pins)['scipy']} of requirements.txt into this one\n"
    assert (done.returncode, done.stderr) == (1, REFUSED.format(venv).rstrip() + missing)


def test_environment_in_the_clone_that_another_tool_made_is_refused(clone):
    put(clone.top / ".venv/pyvenv.cfg", "uv = 0.9")
    before = content(clone.top / ".venv")
    done = make_environment(clone, SWFASTEDIT_VENV="")
    assert (done.returncode, done.stderr) == (1, REFUSED.format(clone.top / ".venv"))
    assert content(clone.top / ".venv") == before


def test_folder_that_cannot_be_listed_is_refused(clone, tmp_path, without_rights):
    put(tmp_path / "mine/thesis.tex", "mine")
    (tmp_path / "mine").chmod(0o333)
    command = (*without_rights, "bash", "-euc", 'source .ci/environment.sh; make_environment "$PWD"')
    env = {**os.environ, **NO_PACKAGES, "PYTHON": sys.executable, "SWFASTEDIT_VENV": str(tmp_path / "mine")}
    done = subprocess.run(command, cwd=clone.top, env=env, capture_output=True, text=True, check=False)
    (tmp_path / "mine").chmod(0o755)
    assert (done.returncode, done.stderr) == (1, REFUSED.format(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def read_only(clone, without_rights, *command, **settings):
    """Run a command while the clone cannot be written."""
    clone.top.chmod(0o555)
    env = {**os.environ, **NO_PACKAGES, "PYTHON": sys.executable, "SWFASTEDIT_VENV": "", **settings}
    done = subprocess.run(
        [*without_rights, *command], cwd=clone.top, env=env, capture_output=True, text=True, check=False
    )
    clone.top.chmod(0o755)
    return done


def test_clone_that_cannot_be_written_names_the_setting(clone, without_rights):
    """The user's cache cannot be written, either."""
    done = read_only(clone, without_rights, "bash", "run.sh", XDG_CACHE_HOME=str(clone.top / ".cache"))
    reason = f"{clone.top}/.venv: cannot be written; set SWFASTEDIT_VENV to a folder for the environment\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


@pytest.mark.parametrize("setting", ["XDG_CACHE_HOME", "HOME"])
def test_environment_of_a_clone_that_cannot_be_written_is_in_the_cache(setting, clone, tmp_path, without_rights):
    cache = {"XDG_CACHE_HOME": "", "HOME": "", setting: str(tmp_path / "my home")}
    settings = cache | {"PYTHON": played_python(clone)}
    done = read_only(clone, without_rights, "bash", "-euc", MAKE, **settings)
    assert done.returncode == 0, done.stderr
    venv = Path(done.stdout.removeprefix("VENV=").rstrip("\n"))
    below = tmp_path / "my home" if setting == "XDG_CACHE_HOME" else tmp_path / "my home/.cache"
    assert venv.parent == below / "swfastedit"
    assert (venv / "installed.txt").is_file()
    again = read_only(clone, without_rights, "bash", "-euc", MAKE, **settings)
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")


def test_complete_environment_in_a_clone_that_cannot_be_written_is_used(clone, without_rights):
    shutil.move(clone.venv, clone.top / ".venv")
    done = read_only(clone, without_rights, "bash", "-euc", MAKE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"VENV={clone.top / '.venv'}\n", "")


@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_relative_folder_is_relative_to_the_caller(script, clone, tmp_path):
    """The stand-in environment is complete, so that the script goes on."""
    env = {**os.environ, **NO_PACKAGES, "PYTHON": sys.executable, "SWFASTEDIT_VENV": "venv"}
    arguments = ["--native"] if script == "test.sh" else ["--quiet"]
    done = subprocess.run(
        ["bash", clone.top / script, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert any("process.py" in line for line in clone.tools())
    assert not (clone.top / "venv").exists()


def test_pip_installs_nowhere_else(clone, tmp_path):
    venv = tmp_path / "environment"
    assert make_environment(clone, SWFASTEDIT_VENV=str(venv), PIP_TARGET=str(tmp_path / "other")).returncode == 0
    assert str(tmp_path / "other") not in (venv / "bin/pip.log").read_text()


def test_file_in_place_of_the_environment_is_refused(clone, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = make_environment(clone, SWFASTEDIT_VENV=str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (1, REFUSED.format(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_interrupted_installation_is_completed(clone, tmp_path):
    venv = tmp_path / "environment"
    put(venv / "offline", "")
    put(venv / ".swfastedit", "")
    put(venv / "pyvenv.cfg", "")
    put(venv / "bin/activate", "")
    put(venv / "bin/python", PLAYED_PYTHON.replace("{python}", sys.executable))
    assert make_environment(clone, SWFASTEDIT_VENV=str(venv)).returncode == 1
    assert not (venv / "installed.txt").exists()
    (venv / "offline").unlink()
    assert make_environment(clone, SWFASTEDIT_VENV=str(venv)).returncode == 0
    assert len((venv / "bin/pip.log").read_text().splitlines()) == 2
    assert (venv / "installed.txt").is_file()


def test_environment_of_which_venv_made_half_is_made_again(clone, tmp_path):
    venv = tmp_path / "environment"
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv), BREAKS="yes")
    reason = f"{venv}: no environment could be made; is Python's venv module installed (Debian: python3-venv)?"
    assert (done.returncode, done.stderr.splitlines()[2:]) == (
        1,
        [reason],
    )  # after two lines that say how long it takes
    assert sorted(content(venv)) == [".swfastedit", "lib", "lib/half"]
    put(venv / "thesis.tex", "a file that a user adds")
    assert make_environment(clone, SWFASTEDIT_VENV=str(venv)).returncode == 0
    assert not (venv / "lib").exists()
    assert (venv / "installed.txt").is_file()
    assert (venv / "thesis.tex").read_text() == "a file that a user adds"


def test_environment_whose_interpreter_is_gone_is_made_again(clone, tmp_path):
    venv = tmp_path / "environment"
    make_environment(clone, SWFASTEDIT_VENV=str(venv))
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to(tmp_path / "removed")
    assert make_environment(clone, SWFASTEDIT_VENV=str(venv)).returncode == 0
    assert not (venv / "bin/python").is_symlink()


def test_environment_of_an_earlier_version_is_taken_over(clone):
    put(clone.top / ".venv/installed.txt", "torch==1.0\n")
    put(clone.top / ".venv/pyvenv.cfg", "")
    put(clone.top / ".venv/bin/python", PLAYED_PYTHON.replace("{python}", sys.executable))
    assert make_environment(clone, SWFASTEDIT_VENV="").returncode == 0
    assert (clone.top / ".venv/.swfastedit").is_file()


def test_environment_of_an_earlier_version_is_not_cleared_when_its_pip_fails(clone):
    put(clone.top / ".venv/installed.txt", "torch==1.0\n")
    before = content(clone.top / ".venv")
    done = make_environment(clone, SWFASTEDIT_VENV="")
    assert (done.returncode, done.stderr) == (1, REFUSED.format(clone.top / ".venv"))
    assert content(clone.top / ".venv") == before


def test_folder_that_cannot_be_written_is_said_in_one_line(clone, tmp_path):
    (tmp_path / "file").write_text("")
    done = make_environment(clone, SWFASTEDIT_VENV=str(tmp_path / "file" / "environment"))
    reason = (
        f"{tmp_path / 'file/environment'}: cannot be written; set SWFASTEDIT_VENV to a folder for the environment\n"
    )
    assert (done.returncode, done.stderr) == (1, reason)


def test_link_to_a_folder_that_does_not_exist_is_named(clone, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("gone")
    done = clone.run("-euc", MAKE, PYTHON=played_python(clone), SWFASTEDIT_VENV=str(link))
    reason = f"{link}: is a link to gone, which does not exist; make it or remove the link\n"
    assert (done.returncode, done.stderr) == (1, reason)


def test_python_that_does_not_run_is_named(clone, tmp_path):
    put(tmp_path / "python", "#!/bin/sh\nexit 3\n")
    done = clone.run("-euc", MAKE, PYTHON=str(tmp_path / "python"))
    hint = "install Python 3.11 or newer, or set PYTHON to one"
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/python does not run: {hint}\n")
