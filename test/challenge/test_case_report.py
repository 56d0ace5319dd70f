"""--report: a report beside each mask, in the folders of the platform and of named scans."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from program import MASKS, assert_is_mask_of_the_scan, files, reports, scan

from swfastedit_core.challenge.case import Case, CaseOptions
from swfastedit_core.challenge.case_record import CaseRecord
from swfastedit_core.challenge.case_report import write_case_report
from swfastedit_core.challenge.cases import add_reports
from swfastedit_core.challenge.options import parse
from swfastedit_core.errors import UserError
from swfastedit_core.report.files import FILES
from swfastedit_core.volume import Geometry, Volume


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Write two scans in the working directory; return its path."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/p1/pet.nii.gz", "data/c.mha"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(scan(), name)
    return tmp_path


@pytest.fixture
def one(weights):
    return ("--weights", weights / "1.safetensors", "--precision", "float32", "--min-lesion-ml", "0.5")


def figures(folder):
    return json.loads((Path(folder) / "report.json").read_text())


def test_each_scan_has_a_report_with_the_path_below_the_named_folder(here, one, run):
    records = reports(run("data", *one, "--output", "masks", "--report", "figures"))

    assert [record["report"] for record in records] == ["figures/c", "figures/p1/pet"]
    assert files(here / "figures") == sorted(Path(folder, name) for folder in ("c", "p1/pet") for name in FILES)
    for record in records:
        assert list(record["seconds"])[-3:] == ["write", "report", "total"]
        assert 0 < record["seconds"]["report"] < record["seconds"]["total"]
        assert figures(record["report"])["totals"]["mtv_ml"] == pytest.approx(record["lesion_volume_ml"], abs=1e-3)


def test_report_says_how_the_mask_was_made(here, one, weights, run):
    (record,) = reports(run("data/c.mha", *one, "--report", "figures"))
    values = figures("figures/c")

    assert (values["pet"], values["mask"]) == ("data/c.mha", "masks/c.mha")
    assert values["method"] == (
        "swfastedit, network 1.safetensors, the body, overlap 0.75; components smaller than 0.5 ml cleared"
    )
    assert values["weights"] == [
        {
            "source": str(weights / "1.safetensors"),
            "licence": "unknown",
            "attribution": "",
            "demonstration": False,
        }
    ]
    assert values["processing"]["engine"] == record["engine"]
    assert values["processing"]["windows"].startswith(f"{record['windows']} of ")
    assert values["warnings"] == record["warnings"]
    mask = assert_is_mask_of_the_scan("masks/c.mha")
    pet = sitk.GetArrayFromImage(sitk.ReadImage("data/c.mha"))
    with Path("figures/c/lesions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["voxels"]) for row in rows) == mask.sum() > 0
    assert max(float(row["suv_max"]) for row in rows) == pytest.approx(pet[mask > 0].max(), abs=1e-4)


def test_container_writes_a_report_only_if_it_is_asked_for(here, one, run):
    (here / "in/images/pet").mkdir(parents=True)
    (here / "data/c.mha").rename(here / "in/images/pet/c.mha")
    (record,) = reports(run("--input", "in", "--output", "out", *one))
    assert files(here / "out") == [MASKS / "c.mha"]
    assert "report" not in record

    (record,) = reports(run("--input", "in", "--output", "out", *one, baked_in="--report out/figures"))
    assert record["report"] == "out/figures/c"
    assert files(here / "out") == sorted([MASKS / "c.mha", *(Path("figures/c", name) for name in FILES)])


def test_image_with_a_report_writes_none_for_scans_that_are_named(here, one, run):
    (record,) = reports(run("data/c.mha", *one, baked_in="--report out/figures"))
    assert "report" not in record
    assert not (here / "out").exists()


def test_mask_stays_when_the_report_fails(here, one, run, monkeypatch):
    def fail(self, data, *_, **__):
        if "lesions.csv" in self.name:
            raise OSError(28, "No space left on device")
        return len(data)

    monkeypatch.setattr(Path, "write_text", fail)
    done = run("data/c.mha", *one, "--report", "figures")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "figures/c/lesions.csv: cannot be written (No space left on device); the mask masks/c.mha is written, the "
        "report is not complete"
    ]
    assert np.any(assert_is_mask_of_the_scan("masks/c.mha"))


@pytest.mark.parametrize(
    ("error", "reason"), [(UserError("x.mha: no such file"), "x.mha: no such"), (MemoryError(), "out of")]
)
def test_failed_report_says_that_the_mask_is_written(error, reason, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("swfastedit_core.files.read.read_volume", fail)
    record = CaseRecord(
        **dict.fromkeys((one.name for one in fields(CaseRecord)), 0)
        | {"output": Path("m.mha"), "seconds": {"total": 1.0}, "ct": None, "clicks": None}
    )
    mask = Volume(np.zeros((1, 1, 1), np.uint8), Geometry((1, 1, 1), (1.0, 1.0, 1.0)))
    with pytest.raises(UserError, match=f"^{reason}.*; the mask m.mha is written, the report is not complete$"):
        write_case_report(tmp_path, record, mask, [], CaseOptions())


def test_report_says_how_many_clicks_were_used(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("swfastedit_core.files.read.read_volume", lambda *_, **__: None)
    monkeypatch.setattr("swfastedit_core.report.compose.make_report", lambda _, __, origin: (seen.append(origin), None))
    monkeypatch.setattr("swfastedit_core.report.write.write_report", lambda *_: None)
    record = CaseRecord(
        **dict.fromkeys((one.name for one in fields(CaseRecord)), 0)
        | {"pet": Path("p.mha"), "seconds": {"total": 1.0}, "ct": None, "clicks": {"tumor": 1, "background": 2}}
    )
    mask = Volume(np.zeros((1, 1, 1), np.uint8), Geometry((1, 1, 1), (1.0, 1.0, 1.0)))
    write_case_report(tmp_path, record, mask, [], CaseOptions())
    assert seen[0].processing["clicks"] == "1 tumor, 2 background"


def test_other_files_are_not_replaced_and_nothing_is_segmented(here, one, run):
    Path("figures/c").mkdir(parents=True)
    Path("figures/c/report.html").write_text("mine")

    done = run("data/c.mha", *one, "--report", "figures")
    assert done.returncode == 1
    assert done.stderr.startswith("figures/c/report.html: the file exists")
    assert not Path("masks").exists()

    done = run("data", *one, "--report", "figures")
    assert done.stderr.splitlines()[-1] == "no mask, or no report, for 1 of 2 scans"
    assert files(here / "masks") == [Path("p1/pet.nii.gz")]
    assert Path("figures/c/report.html").read_text() == "mine"


def test_scans_that_differ_in_the_ending_only_keep_it():
    options = parse(["a.mha", "--report", "figures"], baked_in="")
    masks = ["a.mha", "A.nii.gz", "b.c.nii.gz", "d/a.nrrd", "e.txt", ".nii"]
    cases = [Case(pet=Path("x", name), mask=Path("masks", name)) for name in masks]

    folders = [str(case.report) for case in add_reports(cases, Path("masks"), options)]

    assert folders == [f"figures/{name}" for name in ("a.mha", "A.nii.gz", "b.c", "d/a", "e.txt", ".nii")]
    names = ["a.mha", "a.mha.nii", "a.nii"]  # without its ending, the second has the name that the first keeps
    found = add_reports([Case(pet=Path(name), mask=Path("masks", name)) for name in names], Path("masks"), options)
    assert [case.report for case in found] == [Path("figures", name) for name in names]
    assert add_reports(cases, Path("masks"), parse(["a.mha"], baked_in="")) == cases
