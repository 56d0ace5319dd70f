"""Images that break one check each make the trial fail with that check's name; needs an engine and a built image."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENGINE, IMAGE = os.environ.get("TRIAL_ENGINE", ""), os.environ.get("TRIAL_IMAGE", "")

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not (ENGINE and IMAGE), reason="./test.sh --container names the engine and the image"),
]


def tried(image, method, *options):
    command = [sys.executable, "-m", "trial", "--engine", ENGINE, "--image", image, "--methods", method, *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)


def assert_fails(done, *checks):
    """Each of these checks fails, and no other."""
    assert done.returncode == 1, done.stdout + done.stderr
    found = [line.removeprefix("    FAILED ") for line in done.stdout.splitlines() if line.startswith("    FAILED ")]
    assert len(found) == len(checks), done.stdout
    for line, check in zip(found, checks, strict=True):
        assert line.startswith(check)


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
        return built(
            name,
            [
                "COPY fault.py /opt/",
                "COPY fault.py /opt/ml/model/weights",  # is there in each of them, and to be used by none
                f'ENTRYPOINT ["python", "/opt/fault.py", "{name}"]',
                'ENV SWFASTEDIT_OPTIONS=""',
                "LABEL org.grand-challenge.api-method=exec",
            ],
        )

    return build


def test_image_without_a_fault_passes(with_fault):
    done = tried(with_fault("none"), "exec", "--only", "left-handed PET")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "all checks hold" in done.stdout


@pytest.mark.parametrize(
    ("fault", "checks", "options"),
    [
        ("float mask", ["mask is uint8 of 0 and 1: 32-bit float"], ()),
        ("values", ["mask is uint8 of 0 and 1: 8-bit unsigned integer: 0 2"], ()),
        ("two files", ["exactly one .mha"], ()),
        ("nifti", ["exactly one .mha"], ()),
        ("nothing", ["exactly one .mha"], ()),
        ("wrong spacing", ["geometry equals the PET's: spacing"], ()),
        ("input", ["input not written", "exit code: 1, expected 0", "stderr empty", "exactly one .mha"], ()),
        (
            "hidden file",
            [
                "exit code: 1, expected 0; FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/model/w",
                "stderr empty",
                "exactly one .mha",
            ],
            (),
        ),
        ("cache", ["only /output and /tmp written: /home/algorithm/.cache/kernels"], ()),
        ("child", ["no process left: sleep 3600"], ()),
        (
            "heap",
            ["memory: MemoryError; limit 1 GiB", "exit code: 1, expected 0", "stderr empty", "exactly one .mha"],
            ("--memory-gb", "1"),
        ),
        (
            "shared memory",
            ["memory: exit code 137; limit 1 GiB", "exit code: 137, expected 0", "exactly one .mha"],
            ("--memory-gb", "1"),
        ),
        ("time", ["time: limit 6 s", "exit code: None, expected 0", "exactly one .mha"], ("--time-limit", "6")),
        ("network", ["no network", "exit code: 1, expected 0", "stderr empty", "exactly one .mha"], ()),
        ("stderr", ["stderr empty: a warning of a library"], ()),
        ("log", ["log is UTF-8"], ()),
        ("exit code", ["exit code: 3, expected 0"], ()),
    ],
)
def test_fault_is_found_by_name(fault, checks, options, with_fault):
    assert_fails(tried(with_fault(fault), "exec", "--only", "left-handed PET", *options), *checks)


@pytest.mark.parametrize(
    ("name", "lines", "checks"),
    [
        ("root", ["USER root"], ["image user: root, expected one that is not root", "image uid: 0"]),
        ("uid 0", ["USER 0:10001"], ["image user: 0:10001, expected one that is not root", "image uid: 0"]),
        (
            "api method",
            ["LABEL org.grand-challenge.api-method=http"],
            ["image api-method: http, expected exec or invoke"],
        ),
        (
            "labels",
            ['LABEL org.opencontainers.image.licenses=""'],
            ["image labels: no org.opencontainers.image.licenses"],
        ),
    ],
)
def test_wrong_image_is_found_by_name(name, lines, checks, built):
    assert_fails(tried(built(name, lines), "exec", "--only", "truncated PET"), *checks)


def test_mask_that_differs_and_a_model_that_is_not_used_are_found(with_fault, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.pt"))
    done = tried(with_fault("none"), "exec", "--only", "test/input", "--model", str(tmp_path / "model.tar.gz"))
    dice = "Dice against expected_output: 0.0000"
    socket = "exactly one .mha: images/tumor-lesion-segmentation: nothing"
    assert_fails(done, dice, dice, "mounted model used", socket, "data-centric-model.json: nothing")
