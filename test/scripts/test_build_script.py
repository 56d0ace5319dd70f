"""`build.sh` with fake container engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from clones import put
from places import ROOT


def test_build_passes_its_settings_on(clone):
    clone.answers("docker")
    done = clone.run(
        *("build.sh",),
        API_METHOD="invoke",
        OPTIONS="--task autopet4",
        BASE_IMAGE="base:1",
        CONTAINER_BUILD_FLAGS="--network=host --pull",
        SOURCE="https://example.org/mine",
    )
    assert (done.returncode, done.stderr) == (0, "")
    options = "--api-method invoke --host 0.0.0.0 --task autopet4"
    built = f"built swfastedit:unknown ({options}; 123 MB), also as swfastedit:latest"
    assert done.stdout == f"{built}; next: ./test.sh\n"
    asked = clone.asked("docker")
    content = clone.content("invoke", "--task autopet4")
    (unchecked,) = {word for word in asked if word.startswith("swfastedit:unchecked-")}
    assert asked[: asked.index("image")] == [
        *("info", "build", "--platform", "linux/amd64", "--network=host", "--pull"),
        *("--build-arg", "BASE_IMAGE=base:1", "--build-arg", "API_METHOD=invoke"),
        *("--build-arg", "OPTIONS=--task autopet4", "--build-arg", "VERSION=1.2.3"),
        *("--build-arg", "REVISION=unknown", "--build-arg", f"CONTENT_DIGEST={content}"),
        *("--build-arg", "SOURCE=https://example.org/mine"),
        *("--tag", unchecked, str(clone.top)),
    ]
    assert clone.tags() == ["swfastedit:latest", "swfastedit:unknown"]
    assert clone.run("-euc", "source .ci/image.sh; find_engine; describe_image .; require_image").returncode == 0


def test_build_takes_the_second_engine_and_names_the_base_in_full(clone):
    clone.answers("podman")
    done = clone.run("build.sh")
    assert done.returncode == 0
    assert clone.asked("docker") == ["info"]
    assert "BASE_IMAGE=docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime" in clone.asked("podman")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://example.org/mine.git", "https://example.org/mine.git"),
        ("https://name:password@example.org/mine.git", "https://example.org/mine.git"),
        ("https://name:p@ss@example.org:8443/mine?token=secret", "https://example.org:8443/mine"),
        ("http://example.org/mine", "http://example.org/mine"),
        ("git@example.org:me/mine.git", "https://example.org/me/mine.git"),
        ("example.org:/me/mine.git", "https://example.org/me/mine.git"),
        ("ssh://git@example.org:2222/me/mine.git", "https://example.org/me/mine.git"),
        ("git://example.org/mine.git", "https://example.org/mine.git"),
        ("/home/me/clone", None),
        ("../clone", None),
        ("~/clone", None),
        ("clone", None),
        ("file:///home/me/clone", None),
        ("C:/Users/me/clone", None),
        ("C:\\Users\\me\\clone", None),
        ("work:me/mine.git", None),  # an alias in the settings of SSH
        ("ext::ssh example.org /mine", None),
        ("", None),
    ],
)
def test_source_is_the_public_address_of_the_remote_and_never_a_folder(remote, address, clone):
    clone.answers("docker")
    subprocess.run(["git", "init", "--quiet", clone.top], check=True)
    if remote:
        subprocess.run(["git", "-C", clone.top, "remote", "add", "origin", remote], check=True)
    said = clone.run("build.sh").stdout
    assert f"SOURCE={address or 'unknown'}" in clone.asked("docker")
    hint = "the image has no address of its code: run SOURCE=https://… ./build.sh\n"
    assert (hint in said) == (address is None)


def test_source_of_the_environment_is_no_folder_either(clone):
    clone.answers("docker")
    assert clone.run("build.sh", SOURCE="git@example.org:me/mine").returncode == 0
    assert "SOURCE=https://example.org/me/mine" in clone.asked("docker")
    done = clone.run("build.sh", SOURCE="/home/me/clone")
    reason = "SOURCE=/home/me/clone, expected the address of the code, such as https://github.com/me/mine\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    assert clone.asked("docker").count("build") == 1


def test_build_refuses_an_unknown_method_and_an_image_from_an_old_cache(clone):
    clone.answers("docker")
    done = clone.run("build.sh", API_METHOD="http")
    assert (done.returncode, done.stderr) == (1, "API_METHOD=http, expected exec or invoke\n")
    assert "build" not in clone.asked("docker")
    clone.put_image("stale", digest="0123")
    (clone.bin / "tags/stale").rename(clone.bin / "stale")
    done = clone.run("build.sh")
    reason = "docker took a part of an older build from its cache: run CONTAINER_BUILD_FLAGS=--no-cache ./build.sh\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


def test_build_with_other_options_than_the_cached_image_is_noticed(clone):
    clone.answers("docker")
    (clone.bin / "tags/swfastedit:latest").rename(clone.bin / "stale")
    assert clone.run("build.sh").returncode == 0
    done = clone.run("build.sh", OPTIONS="--vote")
    assert done.stderr.startswith("docker took a part of an older build from its cache: ")
    assert clone.run("build.sh", API_METHOD="invoke").returncode == 1


def fails_at(clone, command, *, text=""):
    """Let the engine fail at a command, and forget the image of `answers`."""
    clone.answers("docker")
    (clone.bin / "tags/swfastedit:latest").unlink()
    put(clone.bin / "hook", f'case "$*" in {command}) echo "{text}" >&2; exit 1 ;; esac\n')


@pytest.mark.parametrize("command", ["build*", "run*"])
def test_image_that_fails_has_no_tag(command, clone):
    fails_at(clone, command, text="OPTIONS: wrong")
    done = clone.run("build.sh", OPTIONS="--wrong")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "OPTIONS: wrong\n")
    assert clone.tags() == []
    done = clone.run("export.sh")
    assert (done.returncode, done.stderr) == (1, "no image swfastedit:latest: run ./build.sh first\n")


def test_image_from_an_old_cache_has_no_tag_and_the_checked_one_stays(clone):
    clone.answers("docker")
    before = (clone.bin / "tags/swfastedit:latest").read_text()
    clone.put_image("stale", digest="0123")
    (clone.bin / "tags/stale").rename(clone.bin / "stale")
    assert clone.run("build.sh").returncode == 1
    assert clone.tags() == ["swfastedit:latest"]
    assert (clone.bin / "tags/swfastedit:latest").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("command", ["build", "run"])
def test_interrupted_build_leaves_no_tag_and_no_engine(command, number, clone):
    """Ctrl-C reaches the whole process group, the other signals the script only."""
    clone.answers("docker")
    (clone.bin / "tags/swfastedit:latest").unlink()
    hang = 'echo $$ >"$here/started"; cp "$here/hook" "$tags/$TAG"; exec sleep 1'
    put(clone.bin / "hook", f'case "$*" in {command}*) TAG=$(cat "$here/tag"); {hang} ;; esac\n')
    script = 'echo "swfastedit:unchecked-$$" >"$0"; exec bash build.sh'
    process = subprocess.Popen(
        ["bash", "-c", script, clone.bin / "tag"],
        cwd=clone.top,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not ((clone.bin / "started").exists() and (clone.bin / "started").read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert clone.tags() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((clone.bin / "started").read_text()), 0)


def test_build_reads_the_options_as_the_program_does(clone):
    clone.answers("docker")
    variable = 'SWFASTEDIT_OPTIONS="--api-method exec --host 0.0.0.0 ${OPTIONS:-}"'
    program = f'cd {ROOT}; {variable} {sys.executable} -c "${{@: -1}}"'
    put(clone.bin / "hook", f'case "$*" in run*) {program}; exit ;; esac\n')
    done = clone.run("build.sh", OPTIONS="--region full\n--vote")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(--api-method exec --host 0.0.0.0 --region full --vote; 123 MB)" in done.stdout
    for wrong, reason in (
        ("--help", "--help ends the program without a mask"),
        ("--device foo", "--device foo, expected auto, cpu, cuda or cuda:N"),
        ("--weights /nowhere", "--weights /nowhere: not in the image; put the weights into weights/"),
    ):
        done = clone.run("build.sh", OPTIONS=wrong)
        assert (done.returncode, done.stderr.partition("; see")[0].strip()) == (1, f"OPTIONS: {reason}")
    done = clone.run("build.sh", OPTIONS="--region head")
    assert done.returncode == 1
    assert done.stderr.startswith("OPTIONS: argument --region: invalid choice: 'head'")
    assert done.stderr.count("\n") == 1
