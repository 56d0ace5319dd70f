"""Images that break one check each make the trial fail with that check's name; needs an engine and a built image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENGINE, IMAGE = os.environ.get("TRIAL_ENGINE", ""), os.environ.get("TRIAL_IMAGE", "")

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not (ENGINE and IMAGE), reason="./test.sh --container names the engine and the image"),
]


def tried(image, *options):
    command = [sys.executable, "-m", "trial", "--engine", ENGINE, "--image", image, "--methods", "exec", *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.fixture
def built():
    """Return a function that builds an image on top of the real one, named in the test's own way."""
    tags = []

    def build(name, lines):
        tags.append(f"swfastedit-fault:{name.replace(' ', '-')}")
        text = "\n".join([f"FROM {IMAGE}", *lines])
        command = [ENGINE, "build", "--quiet", "--tag", tags[-1], "--file", "-", str(HERE / "trial")]
        subprocess.run(command, input=text.encode(), check=True, capture_output=True)
        return tags[-1]

    yield build
    subprocess.run([ENGINE, "rmi", "--force", *tags], capture_output=True, check=False)


@pytest.fixture
def with_fault(built):
    def build(name):
        lines = ["COPY fault.py /opt/fault.py", f'ENTRYPOINT ["python", "/opt/fault.py", "{name}"]']
        return built(name, [*lines, 'ENV SWFASTEDIT_OPTIONS=""', "LABEL org.grand-challenge.api-method=exec"])

    return build


def test_image_without_a_fault_passes(with_fault):
    done = tried(with_fault("none"), "--only", "left-handed PET")
    assert (done.returncode, done.stderr) == (0, "")
    assert "all checks hold" in done.stdout


@pytest.mark.parametrize(
    ("fault", "check", "options"),
    [
        ("float mask", "mask is uint8 of 0 and 1: 32-bit float", ()),
        ("values", "mask is uint8 of 0 and 1: 8-bit unsigned integer: 0 2", ()),
        ("two files", "exactly one .mha", ()),
        ("nifti", "exactly one .mha", ()),
        ("nothing", "exactly one .mha", ()),
        ("wrong spacing", "geometry equals the PET's: spacing", ()),
        ("input", "input not written", ()),
        ("child", "no process left: sleep 3600", ()),
        ("memory", "memory", ("--memory-gb", "1")),
        ("time", "time", ("--time-limit", "4")),
        ("network", "no network", ()),
        ("stderr", "stderr empty: a warning of a library", ()),
        ("log", "log is UTF-8", ()),
        ("exit code", "exit code: 3, expected 0", ()),
    ],
)
def test_fault_is_found_by_name(fault, check, options, with_fault):
    done = tried(with_fault(fault), "--only", "left-handed PET", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED {check}" in done.stdout


@pytest.mark.parametrize(
    ("name", "lines", "check"),
    [
        ("root", ["USER root"], "image user: root (uid 0)"),
        ("uid 0", ["USER 0:10001"], "image user: 0:10001 (uid 0)"),
        ("label", ["LABEL org.grand-challenge.api-method=http"], "image label: api-method http"),
    ],
)
def test_wrong_image_is_found_by_name(name, lines, check, built):
    done = tried(built(name, lines), "--only", "truncated PET")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED {check}" in done.stdout


def test_mask_that_differs_from_the_expected_one_is_found(with_fault):
    done = tried(with_fault("none"), "--only", "test/input")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED Dice against expected_output: 0.0000" in done.stdout
