from __future__ import annotations

import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from trial.cases import Case
from trial.checks import failures
from trial.containers import Outcome
from trial.table import Trial
from trial_examples import FOUND_LIMITS, IMAGE, LIMITS


class StubEngine:
    """Every container has the same outcome and writes the same files."""

    def __init__(self, outcome, write=lambda folders: None):
        self.outcome, self.write = outcome, write
        self.programs = []

    def run(self, image, folders, limits, program):
        self.programs.append(program)
        self.write(folders)
        return self.outcome

    def empty_folders(self, *_):
        pass


def test_first_rows_check_the_image_and_the_limits():
    limits = {**FOUND_LIMITS, "network": ["lo", "eth0"]}
    found = {"uid": 10001, "cuda": None, "architectures": [], "openvino": 27.0, "limits": limits}
    engine = StubEngine(Outcome(0, [(0.5, json.dumps(found).encode())]))
    image, limits = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert (image.name, failures(image.checks)) == ("image", [])
    assert image.remark == "user 10001:10001; architecture linux/amd64; api-method exec"
    assert (limits.name, limits.remark) == ("limits", "16 GiB, 8 shared, 15 data; 300 s a case")
    assert [check.name for check in failures(limits.checks)] == ["limit: network"]
    engine = StubEngine(Outcome(127, stderr=b"sh: python: not found\n"))
    (row,) = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert [(check.name, check.found) for check in failures(row.checks)] == [
        ("image has Python with torch", "sh: python: not found")
    ]


def write_case(folder):
    scan = sitk.GetImageFromArray(np.ones((2, 3, 4), np.float32))
    (folder / "images/pet").mkdir(parents=True)
    sitk.WriteImage(scan, str(folder / "images/pet/scan.mha"))
    return folder / "images/pet/scan.mha"


def write_output(folders):
    folder = folders.output / "images/tumor-lesion-segmentation"
    folder.mkdir(parents=True)
    scan = sitk.ReadImage(str(folders.input / "images/pet/scan.mha"))
    sitk.WriteImage(sitk.Cast(scan, sitk.sitkUInt8), str(folder / "scan.mha"))
    (folders.output / "data-centric-model.json").write_text("false")


def test_exec_rows_run_the_baked_in_options_and_check_the_output(tmp_path):
    log = [(1.0, b"1 of 2 windows\n"), (2.0, b"2 of 2 windows\n"), (2.5, b'{"output": "/output/images/scan.mha"}\n')]
    engine = StubEngine(Outcome(0, log, seconds=3.0, peak_bytes=5), write_output)
    options = {"SWFASTEDIT_OPTIONS": "--task autopet2 --task=autopet4 --data-centric false"}
    image = replace(IMAGE, environment=options, labels={"org.grand-challenge.api-method": "invoke"})
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.pt"))
    trial = Trial(engine, image, LIMITS, [Case("a scan", write_case)], tmp_path / "model.tar.gz")
    case, model, sockets = trial._exec_rows()
    assert (case.name, case.seconds, case.peak_bytes) == ("exec: a scan", 3.0, 5)
    assert case.remark == "first window 1.0 s, mask 2.5 s"
    assert failures(case.checks) == []
    assert model.name == "exec: model tarball"
    assert [(check.name, check.found) for check in failures(model.checks)] == [
        ("mounted model used", "the log names no file in /opt/ml/model")
    ]
    assert sockets.name == "exec: autoPET IV sockets, report"
    assert [(check.name, check.found) for check in failures(sockets.checks)] == [
        ("data-centric-model.json", "false"),
        ("report", "no lesions.csv, mip.png, report.html, report.json"),
    ]
    method = ["python", "--api-method", "exec"]
    assert engine.programs == [
        method,
        method,
        [*method, "--task", "autopet4", "--data-centric", "true", "--report", "/output/reports"],
    ]


@pytest.mark.parametrize(
    ("record", "compared"),
    [({"output": ""}, True), ({"output": "", "clicks": {"tumor": 0, "background": 0}}, False)],
    ids=["automatic networks", "interactive networks"],
)
def test_expected_mask_is_that_of_automatic_networks_under_autopet4(record, compared, tmp_path):
    scan = sitk.ReadImage(str(write_case(tmp_path)))
    sitk.WriteImage(sitk.Cast(scan * 0, sitk.sitkUInt8), str(tmp_path / "mask.mha"))
    (tmp_path / "images/pet/scan.mha").unlink()
    engine = StubEngine(Outcome(0, [(1.0, json.dumps(record).encode())]), write_output)
    row = Trial(engine, IMAGE, LIMITS, []).exec_row(
        Case("a scan", write_case, expected=tmp_path), extra=("--task", "autopet4")
    )
    assert ("Dice against expected_output" in [check.name for check in row.checks]) is compared


def test_case_that_is_segmented_instead_of_refused_fails():
    engine = StubEngine(Outcome(0), write_output)
    (row,) = Trial(engine, IMAGE, LIMITS, [Case("a scan", write_case, valid=False)])._exec_rows()
    names = [check.name for check in failures(row.checks)]
    assert names == ["exit code", "one useful line on stderr", "no output after a failure"]
    assert engine.programs == [["python"]]
