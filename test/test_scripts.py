"""The shell scripts in a copy of the repository, with stand-ins for Docker, podman and the tools."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from image_archives import configured, image_archive
from places import ROOT

COPIED = ("run.sh", "build.sh", "test.sh", "export.sh", ".ci", "Dockerfile", ".dockerignore", "LICENSE", "process.py")
COPIED += ("requirements.txt", "pyproject.toml", "test/trial")
SETTINGS = (
    "CONTAINER_ENGINE",
    "BASE_IMAGE",
    "API_METHOD",
    "OPTIONS",
    "SOURCE",
    "CONTAINER_BUILD_FLAGS",
    "IMAGE",
    "SWFASTEDIT_VENV",
)
# What it answers lies in files beside it; it writes down what it was asked.
ENGINE = r"""#!/usr/bin/env bash
here=$(dirname "${BASH_SOURCE[0]}")
printf '%s\n' "$@" >>"$here/${0##*/}.log"
case "$*" in
info) [ -f "$here/${0##*/}.answers" ] ;;
"image inspect"*Size*) echo 123456789 ;;
"image inspect"*api-method*) cat "$here/labels" ;;
"image inspect"*) cat "$here/content" 2>/dev/null ;;
save*) cat "$here/image.tar" ;;
esac
"""
TOOL = r"""#!/usr/bin/env bash
echo "${0##*/} $*" >>"$(dirname "$0")/log"
[ -z "$TRIAL_IMAGE" ] || echo "TRIAL_ENGINE=$TRIAL_ENGINE TRIAL_IMAGE=$TRIAL_IMAGE" >>"$(dirname "$0")/log"
"""
NO_ENGINE = "neither Docker nor podman runs: install and start one, or set CONTAINER_ENGINE\n"


class Clone:
    """A copy of the repository, and engines beside it. No engine answers before `answers` is called."""

    def __init__(self, top):
        self.top, self.bin, self.venv = top / "clone", top / "bin", top / "venv"
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.top / name)
        (self.top / "swfastedit_core").mkdir()
        (self.top / "swfastedit_core/__init__.py").write_text('__version__ = "1.2.3"\n')
        (self.top / "weights").mkdir()
        (self.top / "weights/one.safetensors").write_bytes(b"weights")
        for tool in (self.bin / "docker", self.bin / "podman"):
            put(tool, ENGINE)
        for name in ("python", "ruff", "mypy", "lint-imports"):
            put(self.venv / "bin" / name, TOOL)
        wanted = self.ask(".ci/environment.sh", f"python={sys.executable}; _requirements . dev")
        (self.venv / "installed.txt").write_text(wanted)
        (self.venv / ".swfastedit").touch()

    def answers(self, engine):
        """Let an engine answer, with the image that belongs to these files."""
        (self.bin / f"{engine}.answers").touch()
        (self.bin / "content").write_text(self.content() + "\n")
        (self.bin / "labels").write_text(f"exec {self.content()}\n")

    def content(self):
        return self.ask(".ci/image.sh", 'describe_image .; echo "$CONTENT_DIGEST"').strip()

    def ask(self, file, command):
        return self._bash("-c", f"source {file}; {command}").stdout

    def run(self, script, *arguments, **settings):
        return self._bash(script, *arguments, **settings)

    def asked(self, engine):
        """Return all that an engine was asked, word by word."""
        log = self.bin / f"{engine}.log"
        return log.read_text().splitlines() if log.is_file() else []

    def tools(self):
        return (self.venv / "bin/log").read_text().splitlines()

    def _bash(self, *command, **settings):
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        kept |= {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "SWFASTEDIT_VENV": str(self.venv),
        }
        return subprocess.run(
            ["bash", *command], cwd=self.top, env=kept | settings, capture_output=True, text=True, check=False
        )


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


@pytest.mark.parametrize("command", [("build.sh",), ("test.sh", "--container"), ("export.sh",)])
def test_no_engine_is_said_in_one_line(command, clone):
    done = clone.run(*command)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", NO_ENGINE)


@pytest.mark.parametrize("command", [("build.sh",), ("test.sh",), ("test.sh", "--container"), ("export.sh",)])
@pytest.mark.parametrize("named", ["podmann", "podman"])  # not installed, not started
def test_engine_that_is_named_has_to_answer(command, named, clone):
    clone.answers("docker")
    done = clone.run(*command, CONTAINER_ENGINE=named)
    reason = f"CONTAINER_ENGINE={named} does not run: is it installed, and is its service started?\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    assert clone.asked("docker") == []


@pytest.mark.parametrize("arguments", [("test.sh",), ("test.sh", "--container"), ("export.sh",)])
def test_image_has_to_be_there_and_of_these_files(arguments, clone):
    clone.answers("docker")
    (clone.top / "weights/one.safetensors").write_bytes(b"other")
    done = clone.run(*arguments)
    reason = "the image swfastedit:latest was not built from the files in this folder: run ./build.sh again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    (clone.bin / "content").unlink()
    done = clone.run(*arguments, IMAGE="mine:1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no image mine:1: run ./build.sh first\n")


def test_build_passes_its_settings_on(clone):
    clone.answers("docker")
    (clone.bin / "labels").write_text(f"invoke {clone.content()}\n")
    done = clone.run(
        *("build.sh",),
        API_METHOD="invoke",
        OPTIONS="--task autopet4",
        BASE_IMAGE="base:1",
        CONTAINER_BUILD_FLAGS="--network=host --pull",
        SOURCE="https://example.org/mine",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("built swfastedit:unknown (invoke, 123 MB), also as swfastedit:latest; next: ./test.sh\n")
    asked = clone.asked("docker")
    assert asked[: asked.index("image")] == [
        *("info", "build", "--platform", "linux/amd64", "--network=host", "--pull"),
        *("--build-arg", "BASE_IMAGE=base:1", "--build-arg", "API_METHOD=invoke"),
        *("--build-arg", "OPTIONS=--task autopet4", "--build-arg", "VERSION=1.2.3"),
        *("--build-arg", "REVISION=unknown", "--build-arg", f"CONTENT_DIGEST={clone.content()}"),
        *("--build-arg", "SOURCE=https://example.org/mine"),
        *("--tag", "swfastedit:unknown", "--tag", "swfastedit:latest", str(clone.top)),
    ]


def test_build_takes_the_second_engine_and_names_the_base_in_full(clone):
    clone.answers("podman")
    done = clone.run("build.sh")
    assert done.returncode == 0
    assert clone.asked("docker") == ["info"]
    assert "BASE_IMAGE=docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime" in clone.asked("podman")


def test_source_is_the_remote_without_its_password_or_is_said_to_be_unknown(clone):
    clone.answers("docker")
    said = "the image has no address of its code: run SOURCE=https://… ./build.sh\n"
    assert said in clone.run("build.sh").stdout
    assert "SOURCE=unknown" in clone.asked("docker")
    subprocess.run(["git", "init", "--quiet", clone.top], check=True)
    remote = "https://name:password@example.org/mine.git"
    subprocess.run(["git", "-C", clone.top, "remote", "add", "origin", remote], check=True)
    assert said not in clone.run("build.sh").stdout
    assert "SOURCE=https://example.org/mine.git" in clone.asked("docker")


def test_build_refuses_an_unknown_method_and_an_image_from_an_old_cache(clone):
    clone.answers("docker")
    done = clone.run("build.sh", API_METHOD="http")
    assert (done.returncode, done.stderr) == (1, "API_METHOD=http, expected exec or invoke\n")
    assert "build" not in clone.asked("docker")
    (clone.bin / "labels").write_text("exec 0123\n")
    done = clone.run("build.sh")
    reason = "docker took a part of an older build from its cache: run CONTAINER_BUILD_FLAGS=--no-cache ./build.sh\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


PYTEST = "python -m pytest -n 2 --dist worksteal --durations=15 -m "
NATIVE = [
    "ruff check .",
    "ruff format --check .",
    "mypy ",
    "lint-imports ",
    PYTEST + "not container and not long",
    "python process.py --input test/input --output SCRATCH/output --engine torch --precision float32",
    "python test/compare_masks.py expected_output SCRATCH/output",
]
TRIAL = "python -m trial --engine docker --image swfastedit:latest --time-limit 300 --model SCRATCH/model.tar.gz"
FAULTS = ["python -m pytest -m container", "TRIAL_ENGINE=docker TRIAL_IMAGE=swfastedit:latest"]


@pytest.mark.parametrize(
    ("engine", "arguments", "ran"),
    [
        (None, (), NATIVE),
        (None, ("--native",), NATIVE),
        ("docker", ("--native",), NATIVE),
        ("docker", (), [*NATIVE, TRIAL, *FAULTS]),
        ("docker", ("--container",), [TRIAL, *FAULTS]),
        (None, ("--long",), [PYTEST + "long and not container"]),
        (None, ("--real", "-x"), [PYTEST + "real and not container -x"]),
        ("docker", ("--container", "--no-faults"), [TRIAL]),
        (
            "docker",
            ("--container", "--no-faults", "--memory-gb", "31", "--time-limit", "600"),
            [TRIAL.replace(" --model", " --memory-gb 31 --time-limit 600 --model")],
        ),
        ("docker", ("-k", "parity"), [line + " -k parity" if "pytest" in line else line for line in NATIVE]),
    ],
)
def test_parts_of_the_test_command(engine, arguments, ran, clone, tmp_path):
    if engine:
        clone.answers(engine)
    done = clone.run("test.sh", *arguments, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    scratch = next((word for line in clone.tools() for word in line.split() if word.startswith(str(tmp_path))), "")
    assert [line.replace(scratch.rpartition("/")[0] or "no scratch", "SCRATCH") for line in clone.tools()] == ran
    left_out = "\nneither Docker nor podman runs: the container was not tested\n"
    assert done.stdout.endswith("\nall tests passed\n")
    assert (left_out in done.stdout) == (engine is None and not arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "clone", "venv"}  # nothing left behind


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--long",), 0), (("--long", "-k", "typo"), 5), (("--real",), 5), (("--native",), 5), (("-k", "typo"), 5)],
)
def test_only_the_long_part_may_be_without_tests(arguments, code, clone):
    put(clone.venv / "bin/python", TOOL + 'case "$*" in "-m pytest"*) exit 5 ;; esac\n')
    done = clone.run("test.sh", *arguments)
    assert (done.returncode, "all tests passed" in done.stdout) == (code, code == 0)


def test_failure_of_a_long_test_is_a_failure(clone):
    put(clone.venv / "bin/python", TOOL + 'case "$*" in "-m pytest"*) exit 1 ;; esac\n')
    assert clone.run("test.sh", "--long").returncode == 1


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


def saved(clone, **change):
    """Let the engine save an image, packed as Docker does: not at all."""
    clone.answers("docker")
    packed = image_archive(clone.bin / "image.tar.gz", blobs=True, **change)
    (clone.bin / "image.tar").write_bytes(gzip.decompress(packed.read_bytes()))


def test_export_writes_both_files_and_says_what_is_next(clone):
    saved(clone)
    done = clone.run("export.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one image of 2 layers, user 10001:10001, architecture linux/amd64" in done.stdout
    assert "upload a container: dist/swfastedit-1.2.3.tar.gz" in done.stdout
    assert sorted(path.name for path in (clone.top / "dist").iterdir()) == ["model.tar.gz", "swfastedit-1.2.3.tar.gz"]
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert [(member.name, member.uid, oct(member.mode)) for member in tar] == [("one.safetensors", 0, "0o644")]


def test_export_leaves_nothing_where_the_upload_would_be_refused(clone):
    saved(clone, **configured(User="my-user"))
    done = clone.run("export.sh")
    assert done.returncode == 1
    assert done.stderr == (
        "swfastedit-1.2.3.tar.gz: image user: my-user, expected letters and digits only, as in 10001:10001\n"
    )
    assert list((clone.top / "dist").iterdir()) == []


def no_weights(weights):
    (weights / "one.safetensors").unlink()
    return f"{weights}: no weights, expected .safetensors, .pt, .pth or .ckpt files"


def linked_weights(weights):
    (weights / "mine.safetensors").symlink_to("one.safetensors")
    return (
        f"{weights}/mine.safetensors: is a link or a special file, expected a regular file; "
        "copy the weights into this folder"
    )


def scattered_weights(weights):
    (weights / "fold 0").mkdir()
    (weights / "fold 0/mine.pt").touch()
    return f"{weights}: weights in several folders ({weights}, {weights}/fold 0), expected one"


@pytest.mark.parametrize("script", ["build.sh", "export.sh"])
@pytest.mark.parametrize("spoil", [no_weights, linked_weights, scattered_weights])
def test_weights_that_the_image_would_not_have_are_refused_at_once(script, spoil, clone):
    reason = spoil(clone.top / "weights")
    saved(clone)
    done = clone.run(script)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{reason}\n")
    assert clone.asked("docker") == ["info"]
    assert not (clone.top / "dist").exists()


def test_weights_in_a_folder_of_their_own_are_packed_on_the_top_level(clone):
    (clone.top / "weights/fold0").mkdir()
    (clone.top / "weights/one.safetensors").rename(clone.top / "weights/fold0/one.safetensors")
    saved(clone)
    assert clone.run("export.sh").returncode == 0
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert tar.getnames() == ["one.safetensors"]


@pytest.mark.parametrize("script", ["build.sh", "export.sh"])
def test_arguments_are_refused_and_help_is_given(script, clone):
    clone.answers("docker")
    done = clone.run(script, "--task", "autopet4")
    reason = f"--task: {script} takes no arguments; set environment variables instead, see {script} --help\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    done = clone.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("Build the algorithm's image", "Write the files for upload"))
    assert clone.asked("docker") == []


def test_build_reads_the_options_once(clone):
    clone.answers("docker")
    engine = clone.bin / "docker"
    engine.write_text(engine.read_text().replace("save*)", "run*) echo 'OPTIONS: wrong' >&2; exit 1 ;;\nsave*)"))
    done = clone.run("build.sh", OPTIONS="--wrong")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "OPTIONS: wrong\n")


def test_build_reads_the_options_as_the_program_does(clone):
    clone.answers("docker")
    engine = clone.bin / "docker"
    program = f'cd {ROOT}; SWFASTEDIT_OPTIONS="--api-method exec ${{OPTIONS:-}}" {sys.executable} -c "${{@: -1}}"'
    engine.write_text(engine.read_text().replace("save*)", f"run*) {program}; exit ;;\nsave*)"))
    done = clone.run("build.sh", OPTIONS="--region full")
    assert (done.returncode, done.stderr) == (0, "")
    done = clone.run("build.sh", OPTIONS="--region head")
    assert done.returncode == 1
    assert done.stderr.startswith("OPTIONS: argument --region: invalid choice: 'head'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--time-limit", "--memory-gb"])
@pytest.mark.parametrize("value", [("abc",), ("-5",), ("nan",), ("0",), ("0.0",), ()])
def test_limits_are_checked_before_anything_runs(option, value, clone):
    done = clone.run("test.sh", option, *value)
    reason = f"{option} {''.join(value)}: expected a number above 0\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


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


# Makes environments without packages. `BREAKS` ends venv half-way; a file named offline in the environment fails pip.
PLAYED_PYTHON = r"""#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
"-m venv "*)
    if [ -n "${BREAKS:-}" ]; then mkdir -p "$3/lib/half" && exit 1; fi
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg"
    ;;
"-m pip --version") [ -f "$here/../pyvenv.cfg" ] ;;
"-m pip install"*) echo "$* ${PIP_TARGET:-}" >>"$here/pip.log" && [ ! -f "$here/../offline" ] ;;
*) exec {python} "$@" ;;
esac
"""
NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}  # if a check fails, pip ends at once
REFUSED = "{}: holds other files and is not changed; set SWFASTEDIT_VENV to a new or an empty folder\n"


def make_environment(clone, **settings):
    """Run what run.sh does before the program starts."""
    played = clone.bin / "played-python"
    put(played, PLAYED_PYTHON.replace("{python}", sys.executable))
    command = 'source .ci/environment.sh; make_environment "$PWD"; echo "VENV=$VENV"'
    return clone.run("-euc", command, PYTHON=str(played), **settings)


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
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"VENV={venv}\n")
    assert (venv / ".swfastedit").is_file()
    before = content(venv)
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv))
    assert (done.returncode, done.stdout) == (0, f"VENV={venv}\n")
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
def test_scripts_refuse_a_real_environment_of_another_project(command, pip, clone, tmp_path):
    venv = tmp_path / "an environment"
    subprocess.run([sys.executable, "-m", "venv", pip, str(venv)], check=True)
    before = content(venv)
    done = clone.run(*command, SWFASTEDIT_VENV=str(venv), **NO_PACKAGES)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", REFUSED.format(venv))
    assert content(venv) == before


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


def test_clone_that_cannot_be_written_names_the_setting(clone, without_rights):
    clone.top.chmod(0o555)
    env = {**os.environ, **NO_PACKAGES, "PYTHON": sys.executable, "SWFASTEDIT_VENV": ""}
    command = (*without_rights, "bash", str(clone.top / "run.sh"))
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    clone.top.chmod(0o755)
    reason = f"{clone.top}/.venv: cannot be written; set SWFASTEDIT_VENV to a folder for the environment\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_relative_folder_is_relative_to_the_caller(script, clone, tmp_path):
    """The stand-in environment is complete, so that the script goes on."""
    env = {**os.environ, **NO_PACKAGES, "PYTHON": sys.executable, "SWFASTEDIT_VENV": "venv"}
    arguments = ["--native"] if script == "test.sh" else ["--help"]
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
    reason = f"{venv}: no environment could be made; is Python's venv module installed (Debian: python3-venv)?\n"
    assert (done.returncode, done.stderr) == (1, reason)
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
    done = make_environment(clone, SWFASTEDIT_VENV=str(venv))
    assert (done.returncode, done.stderr) == (0, "")
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


def test_run_finds_the_clone_through_a_link(clone, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(clone.top / "run.sh")
    done = clone.run(str(link), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.tools() == [f"python {clone.top}/process.py --help"]
