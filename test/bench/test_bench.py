from __future__ import annotations

import json

import pytest
from places import ROOT

from bench import __main__ as command

SCAN = next((ROOT / "test" / "input" / "images" / "pet").iterdir())


def test_parts_that_are_not_measured_again_stay(tmp_path, monkeypatch):
    output, figures = tmp_path / "cpu.json", iter([1, 2, 3])
    for part in ("speed", "large"):
        monkeypatch.setitem(command.MEASURE, part, lambda *_: (next(figures), ""))
    for part in ("speed", "large", "speed"):
        run = ["--scan", str(SCAN), "--device", "cpu", "--output", str(output), "--only", part]
        assert command.main(run) == 0
    found = json.loads(output.read_text())
    assert (found["speed"], found["large"], set(found["dates"])) == (3, 2, {"speed", "large"})
    assert found["settings"]["large"] == {"repeats": 3}
    assert found["settings"]["speed"]["scan"] == f"pet/{SCAN.name}"  # no folders of this machine


@pytest.mark.parametrize(
    ("text", "words"), [("{bad", "as JSON"), ("[]", "no figures"), ('{"dates": {}}', "no figures")]
)
def test_file_that_holds_no_figures_is_not_replaced(text, words, tmp_path, capfd):
    output = tmp_path / "mine.json"
    output.write_text(text)
    assert command.main(["--scan", str(SCAN), "--only", "agreement", "--output", str(output)]) == 1
    assert words in capfd.readouterr().err
    assert output.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "speed and scaling: no scan given; name a whole-body PET with --scan"),
        (["--scan", "none.mha"], "none.mha: no such file; expected a whole-body PET for --scan"),
        (["--scan", str(SCAN), "--label", "none.mha"], "none.mha: no such file"),
        (["--only", "agreement", "--label", str(SCAN)], "--label without --scan"),
        (["--only", "agreement", "--phantoms", "0"], "agreement: no scan and no phantoms"),
        (["--only", "large", "--repeats", "0"], "--repeats: expected 1 or more"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_measured(arguments, words, monkeypatch, capfd):
    for part in command.PARTS:
        monkeypatch.setitem(command.MEASURE, part, lambda *_: pytest.fail("measured"))
    assert command.main(arguments) == 1
    assert words in capfd.readouterr().err


def test_output_that_cannot_be_written_is_refused_first(tmp_path, capfd):
    assert command.main(["--only", "agreement", "--output", str(tmp_path)]) == 1
    assert "is a folder" in capfd.readouterr().err


def test_missing_nibabel_is_named(monkeypatch, capfd):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main(["--scan", str(SCAN)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("speed: the package 'nibabel' is missing")
    assert "./run.sh installs it" in error


def test_environment_of_run_sh_has_what_the_benchmark_imports():
    """The reference imports MONAI, which reads scans with nibabel. The image does without both."""
    before, _, training = (ROOT / "requirements.txt").read_text().partition("# For training")
    for package in ("monai==", "nibabel=="):
        assert f"\n{package}" in training
        assert package not in before


def test_agreement_needs_no_scan(monkeypatch, tmp_path):
    names = []
    monkeypatch.setattr(
        command.agreement, "compare_masks", lambda _, scans, **__: names.extend(scan.case for scan in scans) or []
    )
    output = tmp_path / "cpu.json"
    run = ["--only", "agreement", "--phantoms", "2", "--device", "cpu", "--output", str(output)]
    assert command.main(run) == 0
    assert names == ["phantom_78_0000", "phantom_78_0001"]
    assert json.loads(output.read_text())["settings"]["agreement"]["scan"] is None
