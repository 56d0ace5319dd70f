"""The command on hand-drawn masks: its figures, its files, and what it refuses."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from tiny_masks import mask, rows, run_evaluate, summary, write

from swfastedit_core.evaluate import command
from swfastedit_core.evaluate.results import FILES

CUBE, CORNER = (slice(0, 2), slice(0, 2), slice(0, 2)), (3, 5, 7)  # of the label
SHIFTED, AWAY = (slice(0, 2), slice(0, 2), slice(1, 3)), (3, 0, 6)  # of the prediction
CASES = {
    "clean": (mask(), mask()),
    "false": (mask(), mask((0, 0, slice(0, 3)))),
    "hit": (mask(CUBE, CORNER), mask(SHIFTED, AWAY)),
}


def written(folder):
    """Write the labels and predictions of three cases; return the options that name them."""
    for case, (label, prediction) in CASES.items():
        write(label, folder / "labels" / f"{case}.nii.gz")
        write(prediction, folder / "predictions" / f"{case}_0000.mha")
    return "--labels", folder / "labels", "--predictions", folder / "predictions", "--output", folder / "out"


@pytest.fixture
def cohort(tmp_path):
    return written(tmp_path)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Score the three cases once for several tests; return the folder of the results and the lines of output."""
    folder = tmp_path_factory.mktemp("scored")
    with redirect_stdout(io.StringIO()) as stdout:
        command.run([*map(str, written(folder)), "--tolerance-mm", "5"], stderr=stdout)
    return folder / "out", stdout.getvalue().splitlines()


def run(capfd, *arguments):
    return run_evaluate(capfd, *arguments)


def refused(capfd, *arguments):
    """Return the last line of a command that fails; nothing is written then."""
    done = run(capfd, *arguments)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_table_has_the_figures_by_hand(scored):
    """A voxel is 0.01 ml. Of `hit`, 4 of 9 voxels overlap: IoU of the cubes 4 / 12, the others match nothing."""
    table = rows(scored[0])
    assert list(table) == ["clean", "false", "hit"]
    assert {name: table["hit"][name] for name in ("dice", "fpv_ml", "fnv_ml")} == {
        "dice": pytest.approx(8 / 18),
        "fpv_ml": pytest.approx(0.01),
        "fnv_ml": pytest.approx(0.01),
    }
    assert [table["hit"][name] for name in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    counts = ("label_lesions", "predicted_lesions", "true_positives", "false_positives", "false_negatives")
    assert [table["hit"][name] for name in counts] == [2, 2, 1, 1, 1]
    volumes = ("label_ml", "prediction_ml", "volume_error_ml")
    assert [table["hit"][name] for name in volumes] == pytest.approx([0.09, 0.09, 0.0])
    assert [table["false"][name] for name in volumes] == pytest.approx([0.0, 0.03, 0.03])
    assert [table["false"][name] for name in ("dice", "fnv_ml", "f1", "hd95_mm")] == [""] * 4  # not defined
    assert [table["false"][name] for name in (*counts, "surface_dice")] == [0, 1, 0, 1, 0, 0]
    assert [table["clean"][name] for name in ("dice", "surface_dice", "fpv_ml")] == ["", "", 0]


def test_summary_averages_what_is_defined_and_pools_the_lesions(scored):
    values = summary(scored[0])
    assert values["cases"] == {"all": 3, "failed": 0, "empty_labels": 2, "empty_predictions": 1, "both_empty": 1}
    assert (values["metrics"]["dice"]["n"], values["metrics"]["dice"]["mean"]) == (1, pytest.approx(4 / 9))
    assert values["metrics"]["dice"]["interval"] is None  # of one value
    assert (values["metrics"]["fpv_ml"]["n"], values["metrics"]["fpv_ml"]["mean"]) == (3, pytest.approx(0.04 / 3))
    assert values["metrics"]["fpv_ml"]["median"] == pytest.approx(0.01)
    lesions = values["lesions"]
    assert [lesions[f"{what}s"] for what in ("true_positive", "false_positive", "false_negative")] == [1, 2, 1]
    assert [lesions[rate]["value"] for rate in ("precision", "recall", "f1")] == pytest.approx([1 / 3, 1 / 2, 0.4])
    assert values["challenge"] == {
        "name": "autoPET V",
        "dice": pytest.approx(4 / 9),
        "fpv_ml": pytest.approx(0.04 / 3),
        "fnv_ml": pytest.approx(0.01),
        "f1": pytest.approx(0.4),
    }
    assert values["rules"] == "autopet5"
    assert "within 5 mm" in values["definitions"]["surface_dice"]


def test_rules_of_autopet_2_give_0_for_an_empty_label(cohort, capfd, tmp_path):
    run(capfd, *cohort, "--rules", "autopet2")
    table, values = rows(tmp_path / "out"), summary(tmp_path / "out")
    assert [table[case]["dice"] for case in ("clean", "false")] == ["", 0]
    assert [table[case]["fnv_ml"] for case in ("clean", "false")] == [0, 0]
    assert values["challenge"]["name"] == "autoPET II"
    assert values["challenge"]["dice"] == pytest.approx(2 / 9)
    assert values["challenge"]["fnv_ml"] == pytest.approx(0.01 / 3)


def test_command_prints_progress_a_table_and_its_files(scored):
    output, lines = scored
    assert lines[:3] == [f"scored: {done} of 3 cases" for done in (1, 2, 3)]  # there is no terminal
    assert [line.split()[0] for line in lines[4:10]] == ["Dice", "FPV,", "FNV,", "lesion", "surface", "HD95,"]
    assert lines[4].split()[1:] == ["0.444", "–", "1"]
    assert lines[8].startswith("surface Dice, 5 mm ")
    assert lines[10] == "3 of 3 cases scored; empty labels: 2, empty predictions: 1"
    assert lines[11:] == [str(output / name) for name in FILES]
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)


def test_own_results_are_replaced_and_other_files_are_not(cohort, capfd, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    done = run(capfd, *cohort, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("Dice ")
    write(mask(CORNER), tmp_path / "predictions" / "clean_0000.mha")
    assert run(capfd, *cohort).returncode == 0
    assert rows(tmp_path / "out")["clean"]["prediction_ml"] == 0.01
    (tmp_path / "out" / "metrics.json").write_text('{"program": "another"}')
    before = (tmp_path / "out" / "metrics.csv").read_bytes()
    assert "has metrics.json, metrics.csv, metrics.png, metrics.html, and not by this program" in refused(
        capfd, *cohort
    )
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == before


def test_lesion_values_of_labels_and_predictions(capfd, tmp_path):
    """Value 2 is no lesion: by it, the label would have 9 voxels."""
    write(mask(CUBE, value=3) + mask(CORNER, value=2), tmp_path / "label.mha")
    write(mask(CUBE), tmp_path / "prediction.mha")
    files = "--labels", tmp_path / "label.mha", "--predictions", tmp_path / "prediction.mha", "--output", tmp_path / "o"
    assert run(capfd, *files, "--lesion-labels", "3", "--prediction-labels", "1").returncode == 0
    row = rows(tmp_path / "o")["label"]
    assert (row["label_ml"], row["dice"], row["remark"]) == (pytest.approx(0.08), 1, "")
    values = summary(tmp_path / "o")
    assert (values["lesion_labels"], values["prediction_labels"]) == ([3], [1])


def test_another_grid_is_refused_or_resampled(capfd, tmp_path):
    """The prediction's voxels are half as large along x: 2 of them for each of the label's."""
    write(mask(CUBE), tmp_path / "labels" / "a.mha")
    fine = np.repeat(mask(CUBE), 2, axis=2)
    write(fine, tmp_path / "masks" / "a.mha", spacing_mm=(1.0, 2.0, 2.5), origin_mm=(-0.5, 0.0, 0.0))
    write(mask(CUBE), tmp_path / "labels" / "b.mha")
    write(mask(CUBE), tmp_path / "masks" / "b.mha")
    files = "--labels", tmp_path / "labels", "--predictions", tmp_path / "masks", "--output", tmp_path / "o"
    done = run(capfd, *files)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith(f"a: {tmp_path / 'masks' / 'a.mha'}: the prediction's grid, 16×6×4 voxels of 1×2×2.5 mm")
    assert first.endswith("--resample brings the prediction to the label's grid")
    assert last == "no scores for 1 of 2 cases; the files hold the others"
    assert rows(tmp_path / "o")["b"]["dice"] == 1
    assert run(capfd, *files, "--resample").returncode == 0
    row = rows(tmp_path / "o")["a"]
    assert row["dice"] == 1
    assert row["remark"] == (f"{tmp_path / 'masks' / 'a.mha'}: resampled to the label's grid; 0.08 ml became 0.08 ml")
    assert rows(tmp_path / "o")["b"]["remark"] == ""


def test_a_bad_case_does_not_stop_the_others(cohort, capfd, tmp_path):
    damaged = tmp_path / "predictions" / "false_0000.mha"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    write(mask(CUBE).astype(np.float32) * 0.7, tmp_path / "predictions" / "clean_0000.mha")
    done = run(capfd, *cohort)
    assert done.returncode == 1
    reasons = done.stderr.splitlines()
    assert [line.split(":")[0] for line in reasons[:2]] == ["clean", "false"]
    assert "8 voxels of the prediction are not integers, such as 0.7" in reasons[0]
    assert reasons[2] == "no scores for 2 of 3 cases; the files hold the others"
    table, values = rows(tmp_path / "out"), summary(tmp_path / "out")
    assert table["hit"]["dice"] == pytest.approx(4 / 9)
    assert table["clean"]["dice"] == ""
    assert reasons[0] == f"clean: {table['clean']['problem']}"
    assert values["problems"] == {case: table[case]["problem"] for case in ("clean", "false")}
    assert values["cases"]["failed"] == 2
    assert table["false"]["problem"] in (tmp_path / "out" / "metrics.html").read_text(encoding="utf-8")


def test_without_any_score_earlier_files_stay(capfd, tmp_path):
    write(mask(CUBE), tmp_path / "label.mha")
    write(mask(CUBE), tmp_path / "good.mha")
    (tmp_path / "p.mha").write_bytes(b"")
    done = run(
        capfd, "--labels", tmp_path / "label.mha", "--predictions", tmp_path / "good.mha", "--output", tmp_path / "o"
    )
    assert done.returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    files = "--labels", tmp_path / "label.mha", "--predictions", tmp_path / "p.mha", "--output", tmp_path / "o"
    assert refused(capfd, *files) == "no scores for 1 of 1 cases; no file was written, see the reasons above"
    assert {path: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    assert len(before) == len(FILES)


def test_missing_extra_is_named_before_the_work(capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "NEEDED", ("no_such_package",))
    write(mask(CUBE), tmp_path / "a.mha")
    files = "--labels", tmp_path / "a.mha", "--predictions", tmp_path / "a.mha", "--output", tmp_path / "o"
    assert "the package 'no_such_package' is missing" in refused(capfd, *files)
    assert not (tmp_path / "o").exists()


def test_cases_that_are_left_out_are_named(cohort, capfd, tmp_path):
    write(mask(), tmp_path / "labels" / "other.mha")
    assert "1 of 4 labels have no prediction: other" in refused(capfd, *cohort)
    assert not (tmp_path / "out").exists()
    done = run(capfd, *cohort, "--skip-unpaired")
    note = "1 labels have no prediction and are left out (--skip-unpaired): other"
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"warning: {note}"
    assert summary(tmp_path / "out")["notes"] == [note]
    assert note in (tmp_path / "out" / "metrics.html").read_text(encoding="utf-8")


def test_markup_in_names_stays_text(capfd, tmp_path):
    name = "<script>alert(1)<!--&amp;"
    write(mask(CUBE), tmp_path / "<b>labels" / f"{name}.mha")
    write(mask(CUBE), tmp_path / "masks" / f"{name}.mha")
    files = "--labels", tmp_path / "<b>labels", "--predictions", tmp_path / "masks", "--output", tmp_path / "o"
    assert run(capfd, *files).returncode == 0
    page = (tmp_path / "o" / "metrics.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;!--&amp;amp;" in page
    assert "<script>alert" not in page
    assert "<b>labels" not in page
    assert list(rows(tmp_path / "o")) == [name]
