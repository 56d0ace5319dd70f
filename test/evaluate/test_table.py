"""metrics.csv is read by other programs and by this one."""

from __future__ import annotations

import csv
import math

import pytest

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import CaseResult
from swfastedit_core.evaluate.table import read_table, write_table
from swfastedit_core.metrics.scores import Scores

SCORES = Scores(
    dice=1 / 3,
    fpv_ml=0.0,
    fnv_ml=math.nan,
    precision=0.5,
    recall=1.0,
    f1=2 / 3,
    surface_dice=0.25,
    hd95_mm=12.5,
    label_ml=3.0,
    prediction_ml=2.0,
    volume_error_ml=-1.0,
    label_lesions=2,
    predicted_lesions=1,
    true_positives=1,
    false_positives=0,
    false_negatives=1,
)
HEADER = (
    "case,dice,fpv_ml,fnv_ml,precision,recall,f1,surface_dice,hd95_mm,label_ml,prediction_ml,volume_error_ml,"
    "label_lesions,predicted_lesions,true_positives,false_positives,false_negatives,seconds,problem,remark"
)


def test_rows_as_text(tmp_path):
    results = [
        CaseResult(case="p/s", scores=SCORES, remark='odd, "quoted"', seconds=12.346),
        CaseResult(case="bad", problem="is damaged"),
    ]
    write_table(results, tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines() == [
        HEADER,
        "p/s,0.3333333333333333,0.0,,0.5,1.0,0.6666666666666666,0.25,12.5,3.0,2.0,-1.0,2,1,1,0,1,12.35,,"
        '"odd, ""quoted"""',
        "bad,,,,,,,,,,,,,,,,,,is damaged,",
    ]


def test_table_is_read_back(tmp_path):
    results = [
        CaseResult(case="Müller, 1", scores=SCORES, remark="a\nb", seconds=0.5),
        CaseResult(case="bad", problem="is damaged"),
    ]
    write_table(results, tmp_path / "metrics.csv")
    found = read_table(tmp_path / "metrics.csv")
    assert [repr(one) for one in found] == [repr(one) for one in results]  # NaN is not equal to itself


def test_a_case_name_that_is_not_text_is_written(tmp_path):
    """File names are bytes on Linux; a byte that is not UTF-8 is a lone surrogate in Python."""
    write_table([CaseResult(case="a\udcff", problem="x")], tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["case"] == "a\\udcff"


@pytest.mark.parametrize("content", ["", "case,dice\na,0.5\n", HEADER + "\na,b" + "," * 17, "\0"])
def test_another_table_is_refused(content, tmp_path):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(UserError, match="is not a table of this program"):
        read_table(tmp_path / "metrics.csv")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"metrics.csv: the table cannot be read \(No such file"):
        read_table(tmp_path / "metrics.csv")
