"""Two sets of masks on the same labels: files, refusals and figures of the command."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from tiny_masks import mask, run_evaluate, write

from swfastedit_core.evaluate.cohort import CaseResult, Scoring
from swfastedit_core.evaluate.comparison import files as comparison_files
from swfastedit_core.evaluate.results import Evaluation, summarise, summary_values, write_summary
from swfastedit_core.evaluate.table import write_table
from swfastedit_core.metrics.scores import Scores

CUBE = (slice(0, 2), slice(0, 2), slice(0, 2))  # 8 voxels of 0.01 ml
SCORES = Scores(
    dice=0.5, fpv_ml=0.0, fnv_ml=0.0, precision=1.0, recall=1.0, f1=1.0, surface_dice=0.5, hd95_mm=4.0,
    label_ml=10.0, prediction_ml=10.0, volume_error_ml=0.0, label_lesions=1, predicted_lesions=1,
    true_positives=1, false_positives=0, false_negatives=0,
)  # fmt: skip


def write_results(folder, cases, **scoring):
    """Write metrics.csv and metrics.json of an evaluation: scores by case, or the problem of a case."""
    results = tuple(
        CaseResult(case=case, problem=one) if isinstance(one, str) else CaseResult(case=case, scores=one)
        for case, one in cases.items()
    )
    evaluation = Evaluation(labels="labels", predictions="w", scoring=Scoring(**scoring), results=results)
    folder.mkdir()
    write_summary(summary_values(evaluation, summarise(results)), folder / "metrics.json")
    write_table(results, folder / "metrics.csv")
    return folder


@pytest.fixture
def compare(capfd, tmp_path, monkeypatch):
    """Return a function that compares a and b of the test's folder, without plots and page, which take a second."""
    monkeypatch.setattr(comparison_files, "write_comparison_plots", lambda *_: None)
    monkeypatch.setattr(comparison_files, "write_comparison_page", lambda *_: None)

    def compare(*arguments, output=tmp_path / "o"):
        sides = ("--compare", tmp_path / "a", tmp_path / "b")
        return run_evaluate(capfd, *sides, "--output", output, "--quiet", *arguments)

    return compare


def values(output):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads((output / "compare.json").read_text(encoding="utf-8"), parse_constant=refuse)


def table(output):
    return {row["case"]: row for row in csv.DictReader(io.StringIO((output / "compare.csv").read_text()))}


def test_masks_are_scored_and_compared(capfd, tmp_path):
    """A has half of each cube, Dice 8 / 12; B has all of it, and a voxel apart from the first one."""
    half = (slice(0, 1), slice(0, 2), slice(0, 2))
    for case, more in {"p/<b>one</b>": [(3, 5, 7)], "two": []}.items():
        write(mask(CUBE), tmp_path / "labels" / f"{case}.mha")
        write(mask(half), tmp_path / "a" / f"{case}.nii.gz")
        write(mask(CUBE, *more), tmp_path / "b" / f"{case}.mha")
    options = ("--labels", tmp_path / "labels", "--output", tmp_path / "o", "--workers", "0")
    done = run_evaluate(capfd, "--compare", tmp_path / "a", tmp_path / "b", *options)
    assert (done.returncode, done.stderr) == (0, "")
    found = values(tmp_path / "o")
    dice = found["metrics"]["dice"]
    assert dice["mean_a"] == pytest.approx(2 / 3)
    assert dice["mean_b"] == pytest.approx((16 / 17 + 1) / 2)
    assert dice["mean_difference"]["value"] == pytest.approx((16 / 17 + 1) / 2 - 2 / 3)
    assert (dice["b_better"], dice["equal"], dice["a_better"], dice["left_out"]) == (2, 0, 0, 0)
    assert dice["test"] == {"p_value": 0.5, "differences": 2, "method": "exact"}
    assert found["metrics"]["fpv_ml"]["mean_difference"]["value"] == pytest.approx(0.005)
    assert found["metrics"]["hd95_mm"]["better"] == "lower"
    assert found["pooled_f1"]["f1_a"] == 1
    assert found["pooled_f1"]["f1_b"] == pytest.approx(4 / 5)
    assert [one["case"] for one in found["differ_most"]] == ["two", "p/<b>one</b>"]
    row = table(tmp_path / "o")["p/<b>one</b>"]
    assert float(row["dice_difference"]) == pytest.approx(16 / 17 - 2 / 3)
    assert float(row["label_ml"]) == pytest.approx(0.08)
    assert (row["false_positives_a"], row["false_positives_b"]) == ("0", "1")
    assert (tmp_path / "o/compare.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "o/compare.html").read_text(encoding="utf-8")
    assert "p/&lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "Dice                     0.667     0.971     0.304" in done.stdout


def test_results_of_evaluations_are_compared_without_labels(compare, tmp_path):
    undefined = replace(SCORES, dice=math.nan, label_ml=0.0, label_lesions=0)
    write_results(tmp_path / "a", {"x": SCORES, "empty": undefined})
    write_results(tmp_path / "b", {"x": replace(SCORES, dice=0.75, volume_error_ml=-2.0), "empty": undefined})
    done = compare()
    assert (done.returncode, done.stderr) == (0, "")
    found = values(tmp_path / "o")
    assert (found["cases"], found["metrics"]["dice"]["pairs"], found["metrics"]["dice"]["left_out"]) == (2, 1, 1)
    assert found["metrics"]["dice"]["mean_difference"] == {"value": 0.25, "interval": None}
    assert found["metrics"]["absolute_volume_error_ml"]["mean_difference"]["value"] == 1.0
    assert found["a"] == {"folder": str(tmp_path / "a"), "predictions": "w"}
    assert found["differ_most"] == [
        {
            "case": "x",
            "label_ml": 10.0,
            "prediction_ml_a": 10.0,
            "prediction_ml_b": 10.0,
            "dice_a": 0.5,
            "dice_b": 0.75,
            "difference": 0.25,
        }
    ]
    row = table(tmp_path / "o")["empty"]
    assert (row["dice_a"], row["dice_b"], row["dice_difference"], row["fpv_ml_difference"]) == ("", "", "", "0.0")


def test_an_evaluation_is_compared_with_masks_that_are_scored_now(compare, tmp_path):
    write(mask(CUBE), tmp_path / "labels/x.mha")
    write(mask(CUBE), tmp_path / "b/x.mha")
    write_results(tmp_path / "a", {"x": replace(SCORES, label_ml=0.08)})
    assert compare("--labels", tmp_path / "labels", "--workers", "0").returncode == 0
    assert values(tmp_path / "o")["metrics"]["dice"]["mean_b"] == 1


def test_cases_of_one_side_are_refused_by_name(compare, tmp_path):
    write_results(tmp_path / "a", {"x": SCORES, "only a": SCORES})
    write_results(tmp_path / "b", {"x": SCORES, "only b": SCORES, "only a": "is damaged"})
    done = compare()
    assert done.returncode == 1
    assert done.stderr == (
        f"1 case has scores only in {tmp_path / 'a'}: only a (is damaged); 1 case has scores only in "
        f"{tmp_path / 'b'}: only b; expected the same cases on both sides; --skip-unpaired compares the other 1\n"
    )
    assert not (tmp_path / "o").exists()
    assert compare("--skip-unpaired").returncode == 0
    assert values(tmp_path / "o")["cases"] == 1
    assert len(values(tmp_path / "o")["notes"]) == 2


def test_sides_without_a_common_case_are_refused(compare, tmp_path):
    write_results(tmp_path / "a", {"x": SCORES})
    write_results(tmp_path / "b", {"y": SCORES})
    assert "no case has scores on both sides" in compare("--skip-unpaired").stderr


def test_a_case_that_both_could_not_score_is_noted(compare, tmp_path):
    for side in "ab":
        write_results(tmp_path / side, {"x": SCORES, "bad": "is damaged"})
    assert compare().returncode == 0
    assert values(tmp_path / "o")["notes"] == ["1 case has no scores on either side: bad"]


@pytest.mark.parametrize(
    ("scoring", "words"),
    [
        ({"rules": "autopet2"}, "was scored with --rules autopet5, and"),
        ({"tolerance_mm": 3.0}, "was scored with --tolerance-mm 2, and"),
        ({"lesion_labels": (1, 2)}, "was scored with --lesion-labels all above 0, and"),
    ],
)
def test_sides_that_were_scored_in_different_ways_are_refused(compare, tmp_path, scoring, words):
    write_results(tmp_path / "a", {"x": SCORES})
    write_results(tmp_path / "b", {"x": SCORES}, **scoring)
    done = compare()
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.endswith("evaluate both with the same\n")


@pytest.mark.parametrize("other", [{"label_ml": 10.1}, {"label_lesions": 2}])
def test_scores_against_other_labels_are_refused(compare, tmp_path, other):
    write_results(tmp_path / "a", {"x": SCORES})
    write_results(tmp_path / "b", {"x": replace(SCORES, **other)})
    done = compare()
    assert done.returncode == 1
    assert done.stderr.startswith(f"x: the label has 10 ml in 1 lesions in {tmp_path / 'a'}, and ")
    assert done.stderr.endswith("score both against the same labels\n")


def test_what_is_no_evaluation_is_refused(compare, tmp_path):
    write_results(tmp_path / "a", {"x": SCORES})
    assert f"--compare {tmp_path / 'b'}: no such folder" in compare().stderr
    (tmp_path / "b").mkdir()
    assert "holds no results of an evaluation; score its masks with --labels DIR" in compare().stderr
    (tmp_path / "b/metrics.csv").write_text("case,dice\nx,1\n")
    assert "metrics.json: cannot be read" in compare().stderr
    (tmp_path / "b/metrics.json").write_text("[]")
    assert "metrics.json: is not the summary of an evaluation" in compare().stderr
    (tmp_path / "b/metrics.json").write_bytes((tmp_path / "a/metrics.json").read_bytes())
    assert "metrics.csv: is not a table of this program" in compare().stderr


@pytest.mark.parametrize(
    "newer",
    [
        {"1": replace(SCORES, dice=0.6), "2": SCORES},
        {"1": replace(SCORES, dice=math.nan), "2": SCORES},
        {"1": SCORES, "2": replace(SCORES, hd95_mm=math.nan)},
        {"1": SCORES},
    ],
)
def test_a_table_without_its_summary_is_refused(compare, tmp_path, newer):
    """As it is left by an evaluation that was killed after metrics.json."""
    write_results(tmp_path / "b", {"1": SCORES, "2": SCORES})
    write_results(tmp_path / "a", {"1": SCORES, "2": SCORES})
    write_results(tmp_path / "newer", newer)
    (tmp_path / "newer/metrics.json").replace(tmp_path / "a/metrics.json")
    done = compare()
    assert done.returncode == 1
    assert "a: metrics.json and metrics.csv are of two evaluations; evaluate these masks again" in done.stderr


def test_rules_that_are_not_known_are_refused(compare, tmp_path):
    for side in "ab":
        path = write_results(tmp_path / side, {"1": SCORES}) / "metrics.json"
        path.write_text(path.read_text().replace('"autopet5"', '"autopet9"'))
    assert "metrics.json: is not the summary of an evaluation" in compare().stderr


def test_a_folder_is_not_compared_with_itself(capfd, tmp_path):
    write_results(tmp_path / "a", {"x": SCORES})
    again = tmp_path / "a" / ".." / "a"
    done = run_evaluate(capfd, "--compare", tmp_path / "a", again, "--output", tmp_path / "o")
    assert "is both A and B, expected two different folders" in done.stderr


def test_files_of_another_program_are_not_replaced(compare, tmp_path):
    for side in "ab":
        write_results(tmp_path / side, {"x": SCORES})
    (tmp_path / "o").mkdir()
    (tmp_path / "o/compare.csv").write_text("mine")
    done = compare()
    assert done.returncode == 1
    assert "has compare.csv, and not by this program" in done.stderr
    assert (tmp_path / "o/compare.csv").read_text() == "mine"
