"""`test.sh` with fake tools and container engines."""

from __future__ import annotations

import pytest
from clones import TOOL, put

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
PACK = "python - SCRATCH/model.tar.gz weights"
TRIAL = "python -m trial --engine docker --image swfastedit:latest --time-limit 300 --model SCRATCH/model.tar.gz"
FAULTS = ["python -m pytest -m container", "TRIAL_ENGINE=docker TRIAL_IMAGE=swfastedit:latest"]


@pytest.mark.parametrize(
    ("engine", "arguments", "ran"),
    [
        (None, (), NATIVE),
        (None, ("--native",), NATIVE),
        ("docker", ("--native",), NATIVE),
        ("docker", (), [*NATIVE, PACK, TRIAL, *FAULTS]),
        ("docker", ("--container",), [PACK, TRIAL, *FAULTS]),
        (None, ("--long",), [PYTEST + "long and not container"]),
        (None, ("--real", "-x"), [PYTEST + "real and not container -x"]),
        ("docker", ("--container", "--no-faults"), [PACK, TRIAL]),
        (
            "docker",
            ("--container", "--no-faults", "--memory-gb", "31", "--time-limit", "600"),
            [PACK, TRIAL.replace(" --model", " --memory-gb 31 --time-limit 600 --model")],
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


@pytest.mark.parametrize("option", ["--time-limit", "--memory-gb"])
@pytest.mark.parametrize("value", [("abc",), ("-5",), ("nan",), ("0",), ("0.0",), ()])
def test_limits_are_checked_before_anything_runs(option, value, clone):
    done = clone.run("test.sh", option, *value)
    reason = f"{option} {''.join(value)}: expected a number above 0\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
