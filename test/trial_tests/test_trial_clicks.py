"""The rows of clicks: an image that uses clicks passes, and each way of not doing so fails a check."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager

import numpy as np
import pytest
import SimpleITK as sitk
import trial.clicks
import trial.table
from places import ROOT
from trial.checks import failures
from trial.clicks import click_cases, click_rows
from trial.containers import Outcome
from trial.table import Trial
from trial_examples import IMAGE, LIMITS

from swfastedit_core.click_files import parse_click_file
from swfastedit_core.clicks import file_voxels
from swfastedit_core.errors import UserError
from swfastedit_core.files.geometry import read_geometry

SOCKET = "images/tumor-lesion-segmentation"


class Program:
    """What the image does: it writes a mask of the clicked voxels. With a fault, it does something else."""

    def __init__(self, fault=""):
        self.fault, self.calls, self.exit_code = fault, 0, None

    def segment(self, folders, *, success, refusal):
        (pet,) = folders.input.glob("images/pet/*.mha")
        file = folders.input / "lesion-clicks.json"
        try:
            clicks = file_voxels(parse_click_file(file.read_bytes(), file), read_geometry(pet))
        except UserError as error:
            if self.fault != "never refuses":
                reason = str(error)
                return Outcome(refusal, stderr=f"{reason}\n".encode(), answer=json.dumps({"detail": reason}).encode())
            clicks = {}
        mask = sitk.Image(sitk.ReadImage(str(pet)).GetSize(), sitk.sitkUInt8)
        mask.CopyInformation(sitk.ReadImage(str(pet)))
        for voxels in () if self.fault == "ignores clicks" else clicks.values():
            for x, y, z in voxels.tolist():
                mask[x, y, z] = 1
        if self.fault == "remembers" and success == 201:
            self.calls += 1
            mask[0, 0, self.calls] = 1
        (folders.output / SOCKET).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(mask, str(folders.output / SOCKET / pet.name), True)
        numbers = {kind.value: len(voxels) for kind, voxels in clicks.items()}
        record = {"pet": str(pet), "weights": ["/opt/ml/model/interactive.safetensors"], "clicks": numbers}
        return Outcome(success, [(1.0, f"{json.dumps(record)}\n".encode())])

    def run(self, image, folders, limits, program):
        assert program[1:] == ["--task", "autopet4", "--window-batch", "1", "--overlap", "0.25"]
        assert [path.name for path in (folders.model / "model").iterdir()] == ["interactive.safetensors"]
        return self.segment(folders, success=0, refusal=1)

    def empty_folders(self, image, folders, *_):
        for path in folders.output.rglob("*.mha"):
            path.unlink()

    @contextmanager
    def start_server(self, engine, image, folders, limits, program):
        self.invoke = lambda: self.segment(folders, success=201, refusal=422)
        yield self

    def wait_until_healthy(self):
        return Outcome(200)

    def stop(self):
        return Outcome(0)


@pytest.fixture
def shipped(tmp_path):
    """Write a small body as the only scan."""
    array = np.zeros((20, 24, 70), np.float32)
    array[5:15, 5:20, 2:66] = 1.0
    (tmp_path / "images/pet").mkdir(parents=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "images/pet/scan.mha"))
    return tmp_path


def rows_of(shipped, monkeypatch, fault="", methods=("exec", "invoke")):
    def write_model(folder):
        (folder / "interactive.safetensors").touch()
        with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
            archive.add(folder / "interactive.safetensors", "interactive.safetensors")
        return folder / "model.tar.gz"

    program = Program(fault)
    monkeypatch.setattr(trial.clicks, "_write_model", write_model)
    monkeypatch.setattr(trial.table, "start_server", program.start_server)
    return list(click_rows(Trial(program, IMAGE, LIMITS, []), methods, shipped=shipped))


def failed(rows):
    return {row.name: [check.name for check in failures(row.checks)] for row in rows if failures(row.checks)}


def test_image_that_uses_clicks_passes(shipped, monkeypatch):
    rows = rows_of(shipped, monkeypatch)
    assert failed(rows) == {}
    steps = [f"invoke: clicks, {step} + {step}" for step in range(11)]
    others = ["a scribble", "outside the scan", "no JSON"]
    assert [row.name for row in rows] == [
        *(f"exec: clicks, {name}" for name in ("0 + 0", "5 + 5", "10 + 10", *others)),
        "exec: clicks change the mask",
        "invoke: health",
        *steps,
        *(f"invoke: clicks, {name}" for name in others),
        steps[-1],
        "invoke: SIGTERM",
    ]
    compared = [row.name for row in rows if "mask equals exec's" in [check.name for check in row.checks]]
    assert compared == [steps[0], steps[5], steps[10], "invoke: clicks, a scribble", steps[10]]


def test_image_that_ignores_clicks_fails(shipped, monkeypatch):
    assert failed(rows_of(shipped, monkeypatch, "ignores clicks", ["exec"])) == {
        "exec: clicks change the mask": ["different masks"]
    }


def test_server_that_keeps_something_of_earlier_calls_fails(shipped, monkeypatch):
    found = failed(rows_of(shipped, monkeypatch, "remembers"))
    assert found == {
        f"invoke: clicks, {name}": ["mask equals exec's"] for name in ("0 + 0", "5 + 5", "10 + 10", "a scribble")
    }


def test_image_that_segments_with_a_bad_click_file_fails(shipped, monkeypatch):
    found = failed(rows_of(shipped, monkeypatch, "never refuses", ["exec"]))
    assert found == {
        f"exec: clicks, {name}": ["exit code", "one useful line on stderr", "no output after a failure"]
        for name in ("outside the scan", "no JSON")
    }


def test_clicks_of_the_shipped_scan_are_different_voxels_inside(tmp_path):
    (scan,) = (ROOT / "test/input/images/pet").glob("*.mha")
    steps, (scribble, outside, no_json) = click_cases(scan)
    grid = read_geometry(scan)
    for step, case in enumerate(steps):
        voxels = file_voxels(parse_click_file(case.content.encode(), tmp_path), grid)
        assert [len(of_kind) for of_kind in voxels.values()] == [step, step]
    points = file_voxels(parse_click_file(scribble.content.encode(), tmp_path), grid)
    assert [len(of_kind) for of_kind in points.values()] == [60, 1] == list(scribble.numbers.values())
    with pytest.raises(UserError, match="lies outside the scan"):
        file_voxels(parse_click_file(outside.content.encode(), tmp_path), grid)
    with pytest.raises(UserError, match="is not JSON"):
        parse_click_file(no_json.content.encode(), tmp_path)
