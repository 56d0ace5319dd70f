"""clicks.csv, clicks.json, clicks.png, clicks.html, and what is printed."""

from __future__ import annotations

import base64
import csv
import io
import json
import math

import matplotlib.image
import numpy as np
import pytest
from click_curves import curve, step

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.curve import CurveResult
from swfastedit_core.evaluate.clicks.files import ClickEvaluation, write_click_evaluation
from swfastedit_core.evaluate.clicks.protocols import AutoPet4, AutoPet5, Corrective
from swfastedit_core.evaluate.clicks.words import ABOUT, AXES, CHALLENGE_FIGURES
from swfastedit_core.evaluate.cohort import Scoring

GOOD = CurveResult(
    case="good",
    scores=curve(
        step(0.5, fpv=2.0, fnv=1.0, lesions=(1, 1, 1), seconds=4.0),
        step(0.9, fpv=0.0, fnv=0.0, lesions=(2, 0, 0), tumour=[(1, 2, 3)], background=[(4, 5, 6)], seconds=1.0),
        step(0.9, fpv=0.0, fnv=0.0, lesions=(2, 0, 0), seconds=None),
        drawn_by="random",
    ),
    remark="odd",
)
EMPTY = CurveResult(
    case="empty",
    scores=curve(
        step(math.nan, fpv=6.0, lesions=(0, 1, 0), seconds=2.0),
        step(math.nan, fpv=6.0, lesions=(0, 1, 0), background=[(0, 0, 0)], seconds=3.0),
        step(math.nan, fpv=0.0, lesions=(0, 0, 0), background=[(0, 0, 1)], seconds=5.0),
    ),
)
BAD = CurveResult(case="bad", problem="is\ndamaged")


def evaluation(*results, protocol=None):
    return ClickEvaluation(
        labels="images:d",
        predictions="w.safetensors",
        scoring=Scoring(),
        protocol=(protocol or Corrective(last_step=2)).settings(),
        segmentation={"weights": ["w.safetensors"]},
        results=results,
    )


def write(folder, *results, protocol=None):
    """Write the files; return what was printed, and standard error."""
    lines, stderr = [], io.StringIO()
    write_click_evaluation(evaluation(*results, protocol=protocol), folder, say=lines.append, stderr=stderr)
    return lines, stderr.getvalue()


def summary(folder):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads((folder / "clicks.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_table_has_a_row_for_each_step(tmp_path):
    write(tmp_path, GOOD, EMPTY)
    assert (tmp_path / "clicks.csv").read_text(encoding="utf-8").splitlines() == [
        "case,step,clicks,tumour_clicks,background_clicks,drawn_by,dice,fpv_ml,fnv_ml,dmm,true_positives,"
        "false_positives,false_negatives,seconds,problem,remark",
        "good,0,0,0,0,random,0.5,2.0,1.0,0.5,1,1,1,4.0,,odd",
        "good,1,2,1,1,random,0.9,0.0,0.0,1.0,2,0,0,1.0,,odd",
        "good,2,2,1,1,random,0.9,0.0,0.0,1.0,2,0,0,,,odd",
        "empty,0,0,0,0,,,6.0,,,0,1,0,2.0,,",
        "empty,1,1,0,1,,,6.0,,,0,1,0,3.0,,",
        "empty,2,2,0,2,,,0.0,,,0,0,0,5.0,,",
    ]


def test_the_summary_has_areas_numbers_of_clicks_and_definitions(tmp_path):
    write(tmp_path, GOOD, EMPTY)
    values = summary(tmp_path)
    assert [one["dice"]["mean"] for one in values["steps"]] == [0.5, 0.9, 0.9]
    assert [one["lesions"]["f1"]["value"] for one in values["steps"]] == pytest.approx([2 / 5, 4 / 5, 1.0])
    assert values["areas"]["dice"]["mean"] == pytest.approx(0.7 + 0.9)
    assert values["areas"]["fpv_ml"]["mean"] == pytest.approx((1.0 + 9.0) / 2)
    assert values["areas"]["largest"] == 2
    assert (values["noc"]["0.8"]["mean"], values["noc"]["0.8"]["failures"], values["noc"]["0.8"]["n"]) == (1, 0, 1)
    assert values["seconds_per_click"]["mean"] == pytest.approx((1.0 + 4.0) / 2)
    assert values["clicks"] == {"protocol": "corrective", "steps": 2, "draw": "deepest", "strategy": "corrective"}
    assert values["cases"] == {"all": 2, "failed": 0, "empty_labels": 1}
    assert values["challenge"] == {}
    assert {"dice", "fpv_ml", "fnv_ml", "dmm", "area", "noc", "seconds"} <= set(values["definitions"])


@pytest.mark.long
def test_figures_have_the_names_of_their_challenge(tmp_path):
    write(tmp_path, GOOD, EMPTY, protocol=AutoPet4())
    assert summary(tmp_path)["challenge"] == pytest.approx(
        {"AUC-DSC": 1.6, "AUC-FPV": 5.0, "AUC-FNV": 0.5, "DSC@last": 0.9, "FPV@last": 0.0, "FNV@last": 0.0}
    )
    write(tmp_path, GOOD, EMPTY, protocol=AutoPet5())
    assert summary(tmp_path)["challenge"] == pytest.approx(
        {"AUC-Dice": 1.6, "AUC-DMM": 0.75 + 1.0, "Dice@last": 0.9, "DMM@last": 1.0}
    )


@pytest.mark.long
def test_volumes_of_the_challenge_have_their_unit_on_the_page(tmp_path):
    write(tmp_path, GOOD, EMPTY, protocol=AutoPet4())
    page = (tmp_path / "clicks.html").read_text(encoding="utf-8")
    for figure in ("<dt>AUC-DSC</dt><dd>1.600</dd>", "<dt>AUC-FPV</dt><dd>5.000 ml</dd>", "<dd>0.900</dd>"):
        assert figure in page


def test_every_protocol_has_its_words():
    names = {AutoPet4.name, AutoPet5.name, Corrective.name}
    assert set(ABOUT) == set(AXES) == set(CHALLENGE_FIGURES) == names


def test_a_short_table_is_printed(tmp_path):
    lines, stderr = write(tmp_path, GOOD, EMPTY, protocol=AutoPet4())
    assert lines == [
        "step     Dice   FPV, ml   FNV, ml      DMM  clicks        s",
        "   0    0.500      4.00      1.00    0.400     0.0     3.00",
        "   1    0.900      3.00      0.00    0.800     1.5     2.00",
        "   2    0.900      0.00      0.00    1.000     2.0     5.00",
        "AUC-DSC 1.600, AUC-FPV 5.000, AUC-FNV 0.500, DSC@last 0.900, FPV@last 0.000, FNV@last 0.000",
        "NoC@80 1.00 (mean; 0 of 1 never reach it)",
        "NoC@90 1.00 (mean; 0 of 1 never reach it)",
        "2 of 2 cases scored; empty labels: 1",
        *(str(tmp_path / name) for name in ("clicks.json", "clicks.csv", "clicks.png", "clicks.html")),
    ]
    assert stderr == ""


def test_cases_without_scores_are_named_and_the_others_written(tmp_path):
    stderr = io.StringIO()
    with pytest.raises(UserError, match=r"no scores for 1 of 2 cases; the files hold the others"):
        write_click_evaluation(evaluation(GOOD, BAD), tmp_path, say=lambda _: None, stderr=stderr)
    assert stderr.getvalue() == "bad: is damaged\n"
    assert summary(tmp_path)["problems"] == {"bad": "is\ndamaged"}
    with (tmp_path / "clicks.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["case"], last["step"], last["problem"]) == ("bad", "", "is\ndamaged")
    assert "1 of 2 cases have no scores" in (tmp_path / "clicks.html").read_text(encoding="utf-8")


def test_nothing_is_written_without_any_scores(tmp_path):
    with pytest.raises(UserError, match="no scores for 1 of 1 cases; no file was written"):
        write(tmp_path, BAD)
    assert list(tmp_path.iterdir()) == []


def coloured(path):
    """Return whether each panel, of two rows of three, has pixels that are clearly blue."""
    red, _, blue = np.moveaxis(matplotlib.image.imread(path)[..., :3], -1, 0)
    return [
        bool(panel.any()) for row in np.array_split(blue - red > 0.3, 2) for panel in np.array_split(row, 3, axis=1)
    ]


@pytest.mark.long
def test_every_panel_has_a_curve_and_empty_labels_alone_have_no_dice(tmp_path):
    write(tmp_path, GOOD, EMPTY)
    assert coloured(tmp_path / "clicks.png") == [True] * 6
    write(tmp_path, EMPTY)
    assert coloured(tmp_path / "clicks.png") == [False, False, False, True, False, True]


def test_the_page_holds_the_picture_and_the_figures(tmp_path):
    failed = CurveResult(case="failed", scores=curve(*GOOD.scores.steps[:2], step(0.0, failure="out of memory")))
    write(tmp_path, GOOD, failed, protocol=AutoPet5())
    page = (tmp_path / "clicks.html").read_text(encoding="utf-8")
    assert base64.b64encode((tmp_path / "clicks.png").read_bytes()).decode() in page
    for words in ("AUC-DMM", "autoPET V", "1 step failed and scores 0", "NoC@80", "good", "1.600"):
        assert words in page
