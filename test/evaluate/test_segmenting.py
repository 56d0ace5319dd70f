"""Data sets are segmented and scored; an interrupted evaluation goes on, and stale results are not used."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import blob, write_blobs
from places import ROOT
from program import CONFIG
from tiny_masks import rows, run_evaluate, summary

import process
from swfastedit_core import read_volume, write_mask, write_volume
from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.checkpoint import Channels, Checkpoint, write_checkpoint
from swfastedit_core.engine.ensemble import load_networks
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate import data_sets, results, segmenting
from swfastedit_core.evaluate.cohort import CaseResult, Scoring, score_volumes
from swfastedit_core.evaluate.named_sources import name_sources
from swfastedit_core.evaluate.stored_results import SCORES, StoredResults
from swfastedit_core.files.write import is_own_mask
from swfastedit_core.labels.masks import read_label_file
from swfastedit_core.metrics.scores import score_mask
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.phantom import Phantom
from swfastedit_core.pipeline import Segmentation, segment
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.data.splits import fold_of
from swfastedit_core.volume import Volume


@pytest.fixture
def evaluate(capfd, tmp_path, weights, monkeypatch):
    """Return a function that evaluates one of the test's two networks: options in, exit code and streams out.

    Plots and page, which take a second, are left out: `test_masks_are_those_of_process_py…` has them.
    """
    monkeypatch.setattr(results, "write_plots", lambda *_, **__: None)
    monkeypatch.setattr(results, "write_page", lambda *_, **__: None)

    def evaluate(*arguments, network=weights / "1.safetensors", output=tmp_path / "o"):
        done = run_evaluate(capfd, "--weights", network, "--output", output, *arguments)
        gc.unfreeze()  # as the fixture `run`
        return done

    return evaluate


@pytest.fixture
def segmented(monkeypatch):
    """Mark what is hotter than 3 instead of running the network; return the list of these calls."""
    calls = []

    def mark(pet, networks, **options):
        calls.append(options)
        voxels = (pet.array_zyx > 3).astype(np.uint8)
        return Segmentation(Volume(voxels, pet.geometry), int(voxels.sum()), 0.0, 1, 1, {})

    monkeypatch.setattr(segmenting, "segment", mark)
    return calls


@pytest.fixture
def data(tmp_path):
    """Write two cases."""
    return write_blobs(tmp_path / "d", 2)


def scores(output):
    """Return the table without the seconds."""
    return {case: {name: cell for name, cell in row.items() if name != "seconds"} for case, row in rows(output).items()}


def test_masks_are_those_of_process_py_and_their_scores_those_of_the_masks(capfd, data, tmp_path, weights):
    one = ("--weights", weights / "1.safetensors", "--quiet", "--output")
    done = run_evaluate(capfd, *one, tmp_path / "o", "--data", f"images:{data}", "--save-predictions", tmp_path / "p")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cases done" not in done.stdout  # --quiet
    assert process.main([str(word) for word in (data / "imagesTr", *one, tmp_path / "masks")]) == 0
    gc.unfreeze()
    for name in ("blob0.mha", "blob1.mha"):
        assert is_own_mask(tmp_path / "p" / name)
        assert (tmp_path / "p" / name).read_bytes() == (tmp_path / "masks" / name).read_bytes()
    again = ("--predictions", tmp_path / "p", "--labels", data / "labelsTr", "--output", tmp_path / "o2")
    assert run_evaluate(capfd, *again, "--workers", "0").returncode == 0
    assert scores(tmp_path / "o2") == scores(tmp_path / "o")
    assert 0 < rows(tmp_path / "o")["blob0"]["dice"] < 1
    assert all(0 < row["seconds"] < 600 for row in rows(tmp_path / "o").values())


def test_options_of_the_network_reach_it_and_the_summary(evaluate, segmented, data, tmp_path, weights):
    options = ("--overlap", "0.5", "--vote", "--region", "full", "--min-lesion-ml", "2", "--engine", "torch")
    assert evaluate("--data", f"images:{data}", *options).returncode == 0
    assert len(segmented) == 2
    wanted = {"full_grid": True, "overlap": 0.5, "majority": True, "min_lesion_ml": 2.0}
    assert {name: segmented[0][name] for name in wanted} == wanted
    values = summary(tmp_path / "o")
    made = values["segmentation"]
    assert values["labels"] == f"images:{data}"
    assert (made["weights"], made["overlap"], made["vote"]) == ([str(weights / "1.safetensors")], 0.5, True)
    assert (made["engine"], made["region"], made["min_lesion_ml"], made["split"]) == ("torch", "full", 2.0, None)
    assert len(made["weights_sha256"][0]) == 64


def test_an_interrupted_evaluation_goes_on_with_the_next_case(evaluate, segmented, data, tmp_path, monkeypatch):
    write_blobs(data, 3)

    def interrupt(line):
        if line.startswith("1 of 3 cases done; blob0: Dice "):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_sets, "say", interrupt)
        done = evaluate("--data", f"images:{data}")
    assert done.returncode == 130
    assert done.stderr == "interrupted; 1 of 3 cases are done; the same command goes on with the others\n"
    assert not (tmp_path / "o/metrics.csv").exists()
    del segmented[:]
    done = evaluate("--data", f"images:{data}")
    assert done.returncode == 0
    assert "1 of 3 cases are done already" in done.stdout
    assert len(segmented) == 2
    assert evaluate("--data", f"images:{data}", output=tmp_path / "at once").returncode == 0
    assert scores(tmp_path / "o") == scores(tmp_path / "at once")


def test_results_are_made_again_if_a_file_an_option_or_the_weights_change(evaluate, segmented, data, tmp_path, weights):
    spec = ("--data", f"images:{data}")
    assert evaluate(*spec).returncode == 0
    first = scores(tmp_path / "o")
    assert (evaluate(*spec).returncode, len(segmented)) == (0, 2)  # nothing to do
    write_mask(blob(0)[1], data / "labelsTr/blob1.mha")
    done = evaluate(*spec)
    assert (done.returncode, len(segmented)) == (0, 3)
    assert "1 earlier results are not used: their weights, options or files were others" in done.stdout
    assert scores(tmp_path / "o")["blob0"] == first["blob0"]
    assert scores(tmp_path / "o")["blob1"]["dice"] != first["blob1"]["dice"]
    assert (evaluate(*spec, "--overlap", "0.5").returncode, len(segmented)) == (0, 5)
    assert (evaluate(*spec, network=weights / "2.safetensors").returncode, len(segmented)) == (0, 7)
    assert (evaluate(*spec, network=weights).returncode, len(segmented)) == (0, 9)


def test_a_case_is_segmented_again_if_its_mask_is_wanted_and_missing_or_changed(evaluate, segmented, data, tmp_path):
    spec = ("--data", f"images:{data}")
    assert evaluate(*spec).returncode == 0
    masks = (*spec, "--save-predictions", tmp_path / "p")
    assert (evaluate(*masks).returncode, len(segmented)) == (0, 4)
    (tmp_path / "p/blob0.mha").unlink()
    assert (evaluate(*masks).returncode, len(segmented)) == (0, 5)
    assert (tmp_path / "p/blob0.mha").exists()
    assert (evaluate(*spec).returncode, len(segmented)) == (0, 5)


def test_an_evaluation_waits_for_another_one_in_its_folder(evaluate, segmented, data, tmp_path, monkeypatch):
    lock = tmp_path / "o/cases/lock"
    lock.parent.mkdir(parents=True)
    lines = []
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def say(line):
            lines.append((line, len(segmented)))
            fcntl.flock(file, fcntl.LOCK_UN)  # the other one ends

        monkeypatch.setattr(data_sets, "say", say)
        assert evaluate("--data", f"images:{data}").returncode == 0
    assert lines[0] == (f"another evaluation writes cases in {lock.parent}; waiting for it", 0)
    assert len(segmented) == 2


def test_a_mask_that_another_run_writes_meanwhile_is_not_kept_as_the_scored_one(
    evaluate, segmented, data, tmp_path, monkeypatch
):
    """Two evaluations with folders of their own, which the lock does not know, save their masks in the same one."""
    masks = tmp_path / "p"

    def score_meanwhile(label, mask, scoring):
        if not masks.exists():
            write_mask(Volume(1 - mask.array_zyx, mask.geometry), masks / "blob0.mha")
        return score_volumes(label, mask, scoring)

    monkeypatch.setattr(segmenting, "score_volumes", score_meanwhile)
    assert evaluate("--data", f"images:{data}", "--save-predictions", masks).returncode == 0
    assert read_label_file(masks / "blob0.mha")[0].array_zyx.mean() < 0.5


@pytest.fixture
def stored(tmp_path):
    """Return a source with files, and a function that opens the stored results with some settings changed."""
    for name in ("pet.mha", "label.mha", "ct.mha"):
        (tmp_path / name).write_bytes(b"1")
    source = Source("a/b", "a", "images:d", tmp_path / "pet.mha", tmp_path / "label.mha", tmp_path / "ct.mha")

    def open_results(**changed):
        settings = {
            "networks": {"weights": "1"},
            "options": CaseOptions(),
            "scoring": Scoring(),
            "with_ct": True,
            "kind": SCORES,
        }
        return StoredResults(tmp_path / "cases", **(settings | changed))

    one, none = np.ones((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)
    result = CaseResult(
        case="a/b", scores=score_mask(none, one, spacing_zyx_mm=(1, 1, 1)), remark="ünusual", seconds=1.5
    )
    open_results().write(result, open_results().key(source))
    return source, open_results, result


def test_a_stored_result_is_read_back(stored):
    source, open_results, result = stored
    found = open_results().read("a/b", open_results().key(source))
    assert repr(found) == repr(result)  # NaN is not equal to itself
    moved = replace(source, group="images:elsewhere", patient="b")
    assert open_results().key(moved) == open_results().key(source)


@pytest.mark.parametrize(
    "changed",
    [
        {"networks": {"weights": "2"}},
        {"options": CaseOptions(overlap=0.5)},
        {"options": CaseOptions(min_lesion_ml=1.0)},
        {"scoring": Scoring(rules="autopet2")},
        {"scoring": Scoring(tolerance_mm=3.0)},
        {"with_ct": False},
    ],
)
def test_a_stored_result_does_not_hold_under_other_settings(stored, changed):
    source, open_results, _ = stored
    results = open_results(**changed)
    assert results.read("a/b", results.key(source)) is None
    assert results.exists("a/b")


@pytest.mark.parametrize("name", ["pet.mha", "label.mha", "ct.mha"])
@pytest.mark.parametrize("how", ["size", "time"])
def test_a_stored_result_does_not_hold_for_other_files(stored, tmp_path, name, how):
    source, open_results, _ = stored
    if how == "size":
        (tmp_path / name).write_bytes(b"12")
        os.utime(tmp_path / name, ns=(1, 1))
    else:
        os.utime(tmp_path / name, ns=(2, 2))
    assert open_results().read("a/b", open_results().key(source)) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"key": "KEY"}', b'{"key": "KEY", "scores": {"dice": "x"}}'])
def test_a_damaged_result_is_no_result(stored, tmp_path, content):
    source, open_results, _ = stored
    key = open_results().key(source)
    (tmp_path / "cases/a/b.json").write_bytes(content.replace(b"KEY", key.encode()))
    assert open_results().read("a/b", key) is None


def test_a_fold_is_the_validation_set_of_a_training(evaluate, segmented, data, tmp_path):
    write_blobs(data, 4)
    expected = {name for name in (f"blob{i}" for i in range(4)) if fold_of(name, 2) == 0}
    assert 0 < len(expected) < 4
    assert evaluate("--data", f"images:{data}", "--fold", "0/2").returncode == 0
    assert set(rows(tmp_path / "o")) == expected
    (tmp_path / "split.json").write_text('{"train": ["blob0", "blob1", "blob2"], "validation": ["blob3"]}')
    assert evaluate("--data", f"images:{data}", "--split", tmp_path / "split.json").returncode == 0
    assert set(rows(tmp_path / "o")) == {"blob3"}
    assert summary(tmp_path / "o")["segmentation"]["split"] == str(tmp_path / "split.json")


def test_studies_of_autopet_are_named_by_patient_and_study(evaluate, segmented, capfd, tmp_path):
    for seed, study in enumerate(("PETCT_1/old", "PETCT_1/new")):
        pet, label = blob(seed)
        write_volume(pet, tmp_path / "d" / study / "SUV.nii.gz")
        write_mask(label, tmp_path / "d" / study / "SEG.nii.gz")
    assert evaluate("--data", f"autopet2:{tmp_path / 'd'}", "--save-predictions", tmp_path / "p").returncode == 0
    assert list(rows(tmp_path / "o")) == ["PETCT_1/new", "PETCT_1/old"]
    assert (tmp_path / "p/PETCT_1/old.nii.gz").is_file()
    again = ("--predictions", tmp_path / "p", "--labels", tmp_path / "d", "--output", tmp_path / "o2")
    assert run_evaluate(capfd, *again, "--workers", "0").returncode == 0
    assert [row["dice"] for row in scores(tmp_path / "o2").values()] == [
        row["dice"] for row in scores(tmp_path / "o").values()
    ]


def test_phantoms_are_cases_with_masks(evaluate, segmented, tmp_path, monkeypatch):
    seeds = []

    def small(seed):
        seeds.append(seed)
        return Phantom(*blob(seed), ())

    monkeypatch.setattr("swfastedit_core.train.data.sources.make_phantom", small)
    masks = ("--save-predictions", tmp_path / "p")
    assert evaluate("--data", "phantom:2", "--seed", "3", *masks).returncode == 0
    assert seeds == [300_000, 300_001]
    assert list(rows(tmp_path / "o")) == ["phantom_3_0000", "phantom_3_0001"]
    assert is_own_mask(tmp_path / "p/phantom_3_0001.nii.gz")


@pytest.mark.long
def test_a_real_phantom(evaluate, tmp_path, narrow_checkpoint):
    assert evaluate("--data", "phantom:1", "--overlap", "0", network=narrow_checkpoint).returncode == 0
    assert rows(tmp_path / "o")["phantom_0_0000"]["label_ml"] > 0


def test_a_bad_case_does_not_stop_the_others(evaluate, segmented, data, tmp_path):
    write_blobs(data, 4)
    pet = data / "imagesTr/blob1.mha"
    pet.write_bytes(pet.read_bytes()[:-99])
    hu = read_volume(data / "imagesTr/blob2.mha")
    write_volume(Volume(hu.array_zyx * 100 - 1000, hu.geometry), data / "imagesTr/blob2.mha")
    done = evaluate("--data", f"images:{data}")
    assert done.returncode == 1
    first, second, last = done.stderr.splitlines()
    assert first.startswith(f"blob1: {pet}")
    assert second.startswith(f"blob2: {data / 'imagesTr/blob2.mha'}")
    assert "CT" in second
    assert last == "no scores for 2 of 4 cases; the files hold the others"
    assert [case for case, row in rows(tmp_path / "o").items() if row["dice"] != ""] == ["blob0", "blob3"]
    done = evaluate("--data", f"images:{data}", "--skip-bad")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(rows(tmp_path / "o")) == ["blob0", "blob3"]
    assert summary(tmp_path / "o")["notes"] == [
        "2 of 4 cases cannot be used and are left out (--skip-bad): blob1, blob2"
    ]


def test_a_case_that_cannot_be_segmented_is_not_skipped_as_bad(evaluate, data, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(segmenting, "segment", fail)
    done = evaluate("--data", f"images:{data}", "--skip-bad")
    assert done.returncode == 1
    assert done.stderr.startswith("blob0: out of memory")


def test_doubts_about_a_case_are_shown_and_stored(evaluate, segmented, data, tmp_path):
    pet, _ = blob(1)
    write_mask(Volume(np.ones(pet.array_zyx.shape, np.uint8), pet.geometry), data / "labelsTr/blob1.mha")
    for _ in range(2):  # the second time from the stored result
        done = evaluate("--data", f"images:{data}")
        assert done.returncode == 0
        row = rows(tmp_path / "o")["blob1"]
        assert row["remark"].startswith("the lesions of the label cover 100 % of the volume")
        (tmp_path / "o/metrics.csv").unlink()
    assert summary(tmp_path / "o")["remarks"] == {"blob1": row["remark"]}


def test_networks_that_take_a_ct_get_it(evaluate, data, tmp_path):
    network = NetworkConfig("dynunet", (2,) * 6, in_channels=2)
    config = replace(CONFIG, network=network, channels=Channels.PET_CT)
    torch.manual_seed(0)
    path = tmp_path / "ct.safetensors"
    write_checkpoint(Checkpoint(tmp_path, config, build_network(network).state_dict()), path)
    pet = read_volume(data / "imagesTr/blob0.mha")
    ct = Volume(np.where(pet.array_zyx > 0.5, 40, -1000).astype(np.float32), pet.geometry)
    write_volume(ct, data / "ct/blob0.mha")
    done = evaluate("--data", f"images:{data}", "--save-predictions", tmp_path / "p", network=path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("blob1: ")
    assert "ct" in done.stderr.splitlines()[0].lower()
    expected = segment(pet, load_networks(path), ct=ct).mask.array_zyx
    np.testing.assert_array_equal(read_label_file(tmp_path / "p/blob0.mha")[0].array_zyx, expected)


def test_a_mask_replaces_no_other_file_and_never_a_scan(evaluate, segmented, data, tmp_path):
    (tmp_path / "p").mkdir()
    write_volume(blob(1)[1], tmp_path / "p/blob0.mha")  # as another program would
    before = (tmp_path / "p/blob0.mha").read_bytes()
    masks = ("--data", f"images:{data}", "--save-predictions", tmp_path / "p")
    done = evaluate(*masks)
    assert done.returncode == 1
    assert "blob0.mha: the file exists and is no unchanged mask of this program" in done.stderr
    assert (tmp_path / "p/blob0.mha").read_bytes() == before
    assert evaluate(*masks, "--overwrite").returncode == 0
    assert is_own_mask(tmp_path / "p/blob0.mha")
    for folder in ("imagesTr", "labelsTr"):
        before = (data / folder / "blob0.mha").read_bytes()
        done = evaluate("--data", f"images:{data}", "--save-predictions", data / folder, "--overwrite")
        assert "the mask would replace the scan" in done.stderr
        assert (data / folder / "blob0.mha").read_bytes() == before


def source(case, group):
    return Source(case, case, group, pet=Path(f"{case}.nrrd"))


def test_cases_of_the_same_name_are_named_by_their_data_sets():
    named = name_sources([source("a", "images:x/one"), source("a", "images:x/two")], Path("p"))
    assert [(case.name, case.mask) for case in named] == [
        ("one/a", Path("p/one/a.nrrd")),
        ("two/a", Path("p/two/a.nrrd")),
    ]
    assert [case.name for case in name_sources([source("a", "images:one"), source("b", "images:two")])] == ["a", "b"]
    with pytest.raises(UserError, match=r"two cases are named x/A; evaluate their data sets one after the other"):
        name_sources([source("a", "images:x"), source("A", "images:y/x")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "w"], "--weights needs --data, too; see python -m swfastedit_core.evaluate --help"),
        (["--weights", "w", "--data", "images:d", "--workers", "2"], "--workers belongs to --predictions"),
        (["--weights", "w", "--data", "images:d", "--labels", "l"], "--labels belongs to --predictions"),
        (["--weights", "w", "--data", "images:d", "--overlap", "1"], "--overlap 1.0, expected 0 or more and less than"),
        (["--weights", "w", "--data", "images:d", "--device", "tpu"], "--device tpu, expected auto, cpu, cuda or"),
        (["--weights", "w", "--data", "images:d", "images:d"], "--data names images:d twice, expected each data set"),
        (["--weights", "w", "--data", "other:d"], "other:d: expected LAYOUT:PATH with LAYOUT one of autopet2, images"),
        (["--weights", "w", "--data", "images:d", "--fold", "5/5"], "fold '5/5': expected K/N"),
        (["--weights", "w", "--data", "images:d", "--split", "none.json"], "--split none.json: no such file"),
        (["--weights", "none", "--data", "phantom:1"], "none: no such file or folder"),
        (["--data", "phantom:1"], "nothing to score: give --predictions or --weights or --compare"),
    ],
)
def test_a_wrong_command_line_fails_in_one_line(capfd, tmp_path, arguments, words):
    done = run_evaluate(capfd, "--output", tmp_path / "o", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.long
def test_a_signal_keeps_what_is_done(tmp_path, weights):
    data, output = write_blobs(tmp_path / "d", 40), tmp_path / "o"
    words = ["--weights", weights, "--data", f"images:{data}", "--output", output]
    command = [sys.executable, "-m", "swfastedit_core.evaluate", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("2 of 40 cases done"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = sorted(json.loads(path.read_text())["case"] for path in (output / "cases").glob("*.json"))
    assert 2 <= len(kept) < 40
    assert err == f"interrupted; {len(kept)} of 40 cases are done; the same command goes on with the others\n"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(kept)} of 40 cases are done already" in done.stdout
    assert len(rows(output)) == 40
