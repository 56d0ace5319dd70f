"""The trials of reliability, and their page."""

from __future__ import annotations

import json
import sys

import pytest
from places import ROOT

from bench import reliability
from bench.reliability import FIGURES, PAGE, TRIALS, Trial, attempt, main, page
from bench.trial_programs import Ended, TrialError, call, finish, require, start

QUICK = ("deleted-folder", "read-only", "address-space", "data")


def of_name(name):
    return next(trial for trial in TRIALS if trial.name == name)


def test_page_holds_the_trials_and_the_recorded_results():
    assert page(json.loads(FIGURES.read_text())) == PAGE.read_text(), "run python -m bench.reliability"
    assert "FAILED" not in PAGE.read_text()
    rows = [line for line in PAGE.read_text().splitlines() if "`python -m bench.reliability --only " in line]
    assert [row.rpartition("--only ")[2] for row in rows] == [f"{trial.name}` |" for trial in TRIALS]


@pytest.mark.parametrize("name", QUICK)
def test_trial_passes(name):
    result, passed = attempt(of_name(name), quick=True)
    if "unshare" in result:
        pytest.skip("this user may not mount a file system")
    assert passed, result


@pytest.mark.long
@pytest.mark.parametrize("name", [trial.name for trial in TRIALS if trial.name not in (*QUICK, "resume")])
def test_long_trial_passes(name):
    result, passed = attempt(of_name(name), quick=True)
    assert passed, result


def test_failed_trial_is_printed_and_gives_exit_code_1(monkeypatch, capfd):
    def fail(folder, *, quick):
        require(folder.is_dir() and quick, "no folder")
        raise TrialError("an incomplete\nmask")

    monkeypatch.setattr(reliability, "TRIALS", (Trial("kill", "", fail), Trial("ok", "", lambda _, quick: "fine")))
    assert main(["--quick"]) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("kill: FAILED: an incomplete mask (0 s)\nok: fine (0 s)\n", "1 trial(s) failed: kill\n")


def test_results_are_written_to_record_and_page(monkeypatch, tmp_path):
    trials = (Trial("one", "first", lambda _, quick: "a | b"), Trial("two", "second", lambda _, quick: "c"))
    monkeypatch.setattr(reliability, "TRIALS", trials)
    monkeypatch.setattr(reliability, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    assert main(["--only", "one"]) == 0
    assert "| second | not run |" in (tmp_path / "page.md").read_text()
    assert main(["--only", "two"]) == 0
    assert "| first | a \\| b | `python -m bench.reliability --only one` |" in (tmp_path / "page.md").read_text()
    assert "| second | c |" in (tmp_path / "page.md").read_text()


def test_program_that_does_not_end_in_time_fails_its_trial():
    with pytest.raises(TrialError, match="has not ended after 0 s"):
        finish(start([sys.executable, "-c", "import time; time.sleep(60)"]), seconds=0.1)


def test_more_than_one_line_or_another_exit_code_fails_a_trial():
    done = call([sys.executable, "-c", "import sys; sys.exit('out of memory')"], cwd=ROOT)
    done.require_line("out of memory")
    for wrong in (Ended(0, "", "x\n", 0), Ended(1, "", "", 0), Ended(1, "", "x\ny\n", 0), Ended(-6, "", "x\n", 0)):
        with pytest.raises(TrialError, match="exit code"):
            wrong.require_line("x")
