from __future__ import annotations

import re

import pytest

from swfastedit_core.train import __main__ as command
from swfastedit_core.train.run.progress import describe_duration, describe_progress

METRICS = {"loss": 0.5, "seconds_per_step": 4.0, "waiting": 0.75, "skipped": 0}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (20, "less than a minute"),
        (60, "about 1 min"),
        (12 * 60 + 10, "about 12 min"),
        (80 * 60, "about 80 min"),
        (5.2 * 3600, "about 5 h"),
        (30 * 3600, "about 30 h"),
        (7.1 * 86400, "about 7 days"),
    ],
)
def test_durations_are_rounded(seconds, words):
    assert describe_duration(seconds) == words


def test_time_left_is_that_of_the_steps_left():
    line = describe_progress(METRICS, step=20, steps=200)
    assert line == "step 20 of 200: loss 0.5000, 4.00 s a step, 75% of it waiting for crops, about 12 min left"


def test_start_of_the_loaders_does_not_count_for_the_time_left():
    assert describe_progress(METRICS, step=1, steps=181, starting=True).endswith("crops, about 3 min left")


def test_last_step_has_no_time_left():
    line = describe_progress({**METRICS, "skipped": 2}, step=200, steps=200)
    assert line.endswith("75% of it waiting for crops, 2 steps skipped")


@pytest.mark.usefixtures("in_one_process", "without_pictures")
def test_first_step_of_a_run_is_printed_and_no_row_of_the_metrics(options, tmp_path, capfd):
    run = tmp_path / "run"
    assert command.main(["--output", str(run), *options, "--steps", "3", "--log-every", "2"]) == 0
    lines = re.findall(r"^step (\d) of 3: loss .* (left|crops)$", capfd.readouterr().out, re.MULTILINE)
    assert lines == [("1", "left"), ("2", "left"), ("3", "crops")]
    assert [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()] == ["step", "2", "3"]
