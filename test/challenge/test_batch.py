"""Several scans in one call: a bad one is reported at the end, and the others are done."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from program import assert_failed, assert_is_mask_of_the_scan, files, reports, scan, spoil, start, stopped

from swfastedit_core import pipeline
from swfastedit_core.challenge import batch


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Write three scans in the working directory; return its path."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/p1/pet.nii.gz", "data/p2/pet.nii.gz", "data/c.mha"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(scan(), name)
    return tmp_path


@pytest.fixture
def one(weights):
    return ("--weights", weights / "1.safetensors", "--precision", "float32")


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_scan_without_an_option_gets_a_mask_in_the_working_directory(scans, one, run):
    done = run("data/p1/pet.nii.gz", *one)
    (report,) = reports(done)
    assert (report["pet"], report["output"]) == ("data/p1/pet.nii.gz", "masks/pet.nii.gz")
    assert "\nthe mask is masks/pet.nii.gz\n" in done.stdout
    assert assert_is_mask_of_the_scan("masks/pet.nii.gz").sum() == report["lesion_voxels"] > 0


def test_folder_is_segmented_with_networks_that_are_loaded_once(scans, one, run, monkeypatch):
    loaded, load = [], batch.load
    monkeypatch.setattr(batch, "load", lambda *given, **more: loaded.append(1) or load(*given, **more))
    done = run("data", *one, "--output", "out", "--quiet")
    assert [report["output"] for report in reports(done)] == ["out/c.mha", "out/p1/pet.nii.gz", "out/p2/pet.nii.gz"]
    assert done.stdout.count("\n") == 3
    assert files(scans / "out") == [Path("c.mha"), Path("p1/pet.nii.gz"), Path("p2/pet.nii.gz")]
    assert loaded == [1]
    single = reports(run("data/c.mha", *one, "--output", "single", "--quiet"))[0]
    np.testing.assert_array_equal(*map(assert_is_mask_of_the_scan, ("out/c.mha", single["output"])))


def test_bad_scans_are_reported_at_the_end_and_the_others_are_done(scans, one, run):
    spoil(scans / "data/p1/pet.nii.gz")  # its header is whole
    Path("data/b.mha").write_text("no image")
    Path("empty").mkdir()
    done = run("data", "none.nrrd", "empty", *one, "--output", "out")
    assert done.returncode == 1
    reasons = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in reasons[:-1]] == [
        "empty", "data/b.mha", "none.nrrd", "data/p1/pet.nii.gz"
    ]  # fmt: skip
    assert "truncated" in reasons[3]
    assert reasons[-1] == "no mask for 4 of 6 scans"
    assert files(scans / "out") == [Path("c.mha"), Path("p2/pet.nii.gz")]
    said = lines(done)
    assert {line["pet"]: line["error"] for line in said if "error" in line} == {
        line.partition(": ")[0]: line for line in reasons[:-1]
    }
    assert [line["output"] for line in said if "output" in line] == ["out/c.mha", "out/p2/pet.nii.gz"]


def test_networks_are_not_loaded_for_bad_scans_only(scans, run):
    done = run("data/1.mha", "data/2.mha", "--weights", "nowhere")
    assert done.returncode == 1
    assert done.stderr == "data/1.mha: no such file\ndata/2.mha: no such file\nno mask for 2 of 2 scans\n"


def test_single_bad_scan_is_one_line(scans, run):
    Path("data/c.mha").write_text("no image")
    shutil.rmtree("data/p1")
    shutil.rmtree("data/p2")
    for named in ("data/c.mha", "data"):
        assert_failed(run(named, "--weights", "nowhere"), "data/c.mha: ")
    assert not Path("masks").exists()


def test_weights_that_cannot_be_used_end_the_call(scans, run):
    assert_failed(run("data", "--weights", "nowhere"), "nowhere: no such file or folder")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_scan_for_which_memory_runs_out_does_not_stop_the_others(error, scans, one, run, monkeypatch):
    segment, calls = pipeline.segment, []

    def fails_first(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise error
        return segment(*arguments, **options)

    monkeypatch.setattr(pipeline, "segment", fails_first)
    done = run("data", *one, "--output", "out")
    assert done.returncode == 1
    assert done.stderr.startswith("data/c.mha: out of memory")
    assert done.stderr.endswith("\nno mask for 1 of 3 scans\n")
    assert files(scans / "out") == [Path("p1/pet.nii.gz"), Path("p2/pet.nii.gz")]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_no_scan_is_replaced_by_a_mask(overwrite, scans, one, run):
    sitk.WriteImage(scan(), "other.mha")
    Path("other.mha").rename("data/p1/c.mha")
    before = {path: (scans / path).read_bytes() for path in files(scans)}
    done = run("data/c.mha", "data/p1", *one, "--output", "data/p1", *overwrite)  # data/p1/c.mha for data/c.mha
    reason = "data/c.mha: data/p1/c.mha: the mask would replace the scan; choose another --output\n"
    assert (done.returncode, done.stderr) == (1, reason + "no mask for 1 of 3 scans\n")
    assert {path: (scans / path).read_bytes() for path in before} == before
    assert set(files(scans)) - set(before) == {Path("data/p1/p1/c.mha"), Path("data/p1/p1/pet.nii.gz")}


def test_ct_of_several_scans_is_refused_in_one_line(scans, run):
    done = run("data", "--ct", "data/c.mha", "--weights", "nowhere")
    assert_failed(done, "--ct data/c.mha: is the CT of one scan, and 3 are named; call the program for each")
    assert not Path("masks").exists()


def test_interruption_ends_the_call_at_once_and_keeps_the_masks(scans, one):
    sitk.WriteImage(scan(np.ones((200, 150, 150), np.float32)), "large.mha")  # some thousand windows
    process = start("data/c.mha", "large.mha", *one, "--region", "full", "--device", "cpu", "--output", scans / "out")
    for line in process.stdout:
        if line.startswith("large.mha: "):
            break
    ended, _, err, seconds = stopped(process, signal.SIGINT)
    assert (ended, err) == (130, "interrupted; 1 of 2 masks are written\n")
    assert seconds < 3
    assert files(scans / "out") == [Path("c.mha")]
    assert_is_mask_of_the_scan(scans / "out/c.mha")
