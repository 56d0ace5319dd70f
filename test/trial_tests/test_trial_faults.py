"""Images with one fault each: the trial names the check that fails. Needs a container engine and a built image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from trial.checks import failures
from trial.containers import Engine
from trial.limits import GIB, Limits, check_limits, temporary_folders
from trial.table import PROBE

HERE = Path(__file__).parents[1]
ENGINE, IMAGE = os.environ.get("TRIAL_ENGINE", ""), os.environ.get("TRIAL_IMAGE", "")

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not (ENGINE and IMAGE), reason="./test.sh --container names the engine and the image"),
]


def run_trial(image, method, *options):
    command = [sys.executable, "-m", "trial", "--engine", ENGINE, "--image", image, "--methods", method, *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parent, timeout=600
    )


def assert_fails(done, *checks):
    """Assert that these checks fail and no other."""
    assert done.returncode == 1, done.stdout + done.stderr
    found = [line.removeprefix("    FAILED ") for line in done.stdout.splitlines() if line.startswith("    FAILED ")]
    assert len(found) == len(checks), done.stdout
    for line, check in zip(found, checks, strict=True):
        assert line.startswith(check)


@pytest.fixture
def built():
    """Return a function that builds an image on top of the real one."""
    tags = []

    def build(name, lines):
        tags.append(f"swfastedit-fault:{name.replace(' ', '-')}")
        text = "\n".join([f"FROM {IMAGE}", *lines])
        command = [ENGINE, "build", "--network=none", "--quiet", "--tag", tags[-1], "--file", "-", str(HERE / "trial")]
        subprocess.run(command, input=text.encode(), check=True, capture_output=True)
        return tags[-1]

    yield build
    subprocess.run([ENGINE, "rmi", "--force", *tags], capture_output=True, check=False)


@pytest.fixture
def with_fault(built):
    def build(name, method="exec"):
        program = {"exec": "fault.py", "invoke": "fault_server.py"}[method]
        return built(
            f"{method} {name}",
            [
                "COPY fault.py fault_server.py /opt/",
                "COPY fault.py /opt/ml/model/weights",  # the mount of /opt/ml hides it
                f'ENTRYPOINT ["python", "/opt/{program}", "{name}"]',
                f'ENV SWFASTEDIT_OPTIONS="--api-method {method}"',
                f"LABEL org.grand-challenge.api-method={method}",
            ],
        )

    return build


def test_image_without_a_fault_passes(with_fault):
    done = run_trial(with_fault("none"), "exec", "--only", "left-handed PET")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "all checks passed" in done.stdout


@pytest.mark.parametrize(
    ("fault", "checks", "options"),
    [
        ("float mask", ["mask is uint8 of 0 and 1: 32-bit float"], ()),
        ("values", ["mask is uint8 of 0 and 1: 8-bit unsigned integer: 0 2"], ()),
        ("two files", ["exactly one .mha"], ()),
        ("stray file", ["no other file in /output: notes.txt"], ()),
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
        ("time", ["time: not done after 6 s, the limit"], ("--time-limit", "6")),
        ("network", ["no network", "exit code: 1, expected 0", "stderr empty", "exactly one .mha"], ()),
        ("stderr", ["stderr empty: a warning of a library"], ()),
        ("log", ["log is UTF-8"], ()),
        ("exit code", ["exit code: 3, expected 0"], ()),
    ],
)
def test_fault_of_an_exec_is_found_by_name(fault, checks, options, with_fault):
    assert_fails(run_trial(with_fault(fault), "exec", "--only", "left-handed PET", *options), *checks)


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("none", []),
        ("health", ["health 200: 500 "]),
        ("loopback", ["health 200: 0 [Errno 111] Connection refused"]),
        ("dead", ["health 200: the server ended with exit code 1; no weights that could be loaded"]),
        (
            "start",
            [
                "HTTP status: 500, expected 201; no weights that could be loaded",
                "stderr empty: no weights that could be loaded",
                "exactly one .mha",
            ],
        ),
        ("status", ["HTTP status: 200, expected 201"]),
        ("detail", ["answer equals the line on stderr: bad input, on stderr 0b6e4b0e"]),
        (
            "fragile",
            [
                "server keeps running: it ended with exit code 4; 0b6e4b0e",
                "HTTP status: 4, expected 4xx or 5xx",
                "answer equals the line on stderr",
            ],
        ),
        ("child", ["no process left: sleep 3600"]),
        ("cache", ["only /output and /tmp written: /home/algorithm/kernels"]),
        ("deaf", ["SIGTERM ends the server: still running after 1"]),
    ],
)
def test_fault_of_a_server_is_found_by_name(fault, checks, with_fault):
    calls = ("truncated PET", "left-handed PET")
    options = ("--start-limit", "10") if fault in ("health", "loopback") else ()
    done = run_trial(with_fault(fault, "invoke"), "invoke", *options, "--only", *calls)
    if checks:
        assert_fails(done, *checks)
    else:
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        rows = [line[:34].strip() for line in done.stdout.splitlines() if line.startswith("invoke: ")]
        assert rows == ["invoke: health", "invoke: truncated PET", "invoke: left-handed PET", "invoke: SIGTERM"]


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
            "options",
            ["LABEL org.grand-challenge.api-method=invoke"],
            ["image options: --api-method exec --host 0.0.0.0, expected --api-method invoke as in the label"],
        ),
        (
            "no CPU plug-in",
            ["USER root", "RUN find / -xdev -name 'libopenvino_intel_cpu_plugin*' -delete", "USER 10001:10001"],
            ["OpenVINO runs on the CPU"],
        ),
        (
            "labels",
            ['LABEL org.opencontainers.image.licenses=""'],
            ["image labels: no org.opencontainers.image.licenses"],
        ),
    ],
)
def test_wrong_image_is_found_by_name(name, lines, checks, built):
    assert_fails(run_trial(built(name, lines), "exec", "--only", "truncated PET"), *checks)


def test_mask_that_differs_and_a_model_that_is_not_used_are_found(with_fault, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.pt"))
    done = run_trial(with_fault("none"), "exec", "--only", "test/input", "--model", str(tmp_path / "model.tar.gz"))
    dice = "Dice against expected_output: 0.0000"
    socket = "exactly one .mha: images/tumor-lesion-segmentation: nothing"
    other = "no other file in /output: images/automated-petct-lesion-segmentation/"
    assert_fails(
        done,
        dice,
        dice,
        "mounted model used",
        socket,
        other,
        "data-centric-model.json: nothing",
        "report: no lesions.csv",
    )


@dataclass(frozen=True)
class LimitsWithout(Limits):
    """Limits without some flags. The host's network replaces a missing --network=none: every machine has it."""

    without: tuple[str, ...] = ()

    def flags(self):
        kept = [flag for flag in super().flags() if not flag.startswith(self.without)]
        return [*kept, "--network=host"] if "--network=none" not in kept else kept


@pytest.mark.parametrize(
    ("without", "names"),
    [
        (("--network=",), ["network"]),
        (("--memory=", "--memory-swap="), ["memory", "memory and swap"]),
        (("--memory-swap=",), ["memory and swap"]),
        (("--shm-size=",), ["shared memory"]),
        (("--ulimit=data=",), ["data segment"]),
        (("--cap-drop=",), ["capabilities"]),
        (("--security-opt=",), ["no new privileges"]),
        (("--pids-limit=",), ["processes"]),
        (("--env=LOG_LEVEL=",), ["LOG_LEVEL"]),
    ],
)
def test_missing_limit_is_found_by_name(without, names):
    engine, limits = Engine(ENGINE), LimitsWithout(60.0, GIB, without=without)
    image = engine.inspect(IMAGE)
    with temporary_folders() as folders:
        outcome = engine.run(image, folders, limits, ("python", "-c", PROBE))
        engine.empty_folders(image, folders, "/mnt/notes")
    checks = check_limits(json.loads(outcome.stdout)["limits"], limits)
    assert [check.name for check in failures(checks)] == [f"limit: {name}" for name in names]
