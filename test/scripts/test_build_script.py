"""`build.sh` with fake container engines."""

from __future__ import annotations

import subprocess
import sys

from places import ROOT


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
