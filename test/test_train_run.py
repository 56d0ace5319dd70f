"""The real command: runs that end, runs that are killed, several processes, weights for the program."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import blob, write_blobs

from swfastedit_core import load_networks, segment
from swfastedit_core.checkpoint import read_checkpoint, read_config
from swfastedit_core.metrics import dice
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.sources import find_sources
from swfastedit_core.train.state import read_state, states
from swfastedit_core.train.validate import validate

ROOT = Path(__file__).parent.parent
TRAIN = [sys.executable, "-m", "swfastedit_core.train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
NARROW = [
    *("--filters", "4", "4", "4", "4", "4", "4", "--spacing", "4", "4", "4", "--suv-range", "0", "10"),
    *("--window", "32", "32", "32", "--crop", "32", "32", "32", "--precision", "float32", "--device", "cpu"),
    *("--batch", "2", "--seed", "1", "--preparers", "1", "--loaders", "0"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_blobs(tmp_path_factory.mktemp("blobs"), 6)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def options(data, store):
    return [*NARROW, "--data", f"images:{data}", "--store", str(store)]


def started(*arguments, prefix=TRAIN, **how):
    command = [*prefix, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
    )


def finished(*arguments, prefix=TRAIN):
    process = started(*arguments, prefix=prefix)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(run):
    return {int(row["step"]): float(row["loss"]) for row in metrics(run) if row["loss"]}


def test_network_learns_what_a_lesion_is_and_the_container_can_use_it(tmp_path, capfd):
    run, weights = tmp_path / "blobs", tmp_path / "weights"
    scan, label = blob(99, organ=True)
    assert dice(label.array_zyx, scan.array_zyx > 2.5) < 0.4  # a threshold is not enough
    data = write_blobs(tmp_path / "data", 6, organ=True)
    arguments = [
        *("--output", str(run), *NARROW, "--data", f"images:{data}"),
        *("--steps", "80", "--learning-rate", "2e-2", "--log-every", "20"),
        *("--fold", "2/5", "--validate-every", "60", "--demonstration", "--licence", "CC0"),
    ]
    assert command.main(arguments) == 0
    out = capfd.readouterr().out
    held_out = json.loads((run / "split.json").read_text())["validation"]
    assert f"{len(held_out)} held out" in out
    assert held_out == ["blob2", "blob5"]
    found = losses(run)
    assert list(found) == [20, 40, 60, 80]
    assert found[80] < 0.7 * found[20]
    validated = [row for row in metrics(run) if row["validated"]]
    assert [row["step"] for row in validated] == ["60", "80"]
    assert float(validated[-1]["dice"]) > 0.9
    assert command.main(["export", str(run), str(weights), "--half"]) == 0
    config = read_config(weights / "blobs.safetensors")
    assert config.demonstration
    assert config.licence == "CC0"
    assert config.window == (32, 32, 32)
    assert config.preprocessing.spacing_mm == (4.0, 4.0, 4.0)
    training = config.training
    assert training["command"].startswith("python -m swfastedit_core.train --output ")
    assert training["data"] == [{"layout": "images", "cases": 6 - len(held_out), "patients": 6 - len(held_out)}]
    assert training["validation"]["dice"] > 0.9
    assert training["options"]["learning_rate"] == 0.02
    mask = segment(scan, load_networks(weights, device="cpu", precision="float32")).mask
    assert dice(label.array_zyx, mask.array_zyx) > 0.9
    assert {"curves.png", "best.safetensors", "last.safetensors"} <= {path.name for path in run.iterdir()}
    assert len(list((run / "validation").glob("*.png"))) == 2
    assert list((run / "tensorboard").glob("events*"))


def test_best_and_last_weights_are_exported_as_asked(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "8", "--learning-rate", "2e-2", "--fold", "2/5"]
    assert command.main([*arguments, "--validate-every", "2", "--validation-cases", "1"]) == 0
    rows = [row for row in metrics(run) if row["validated"]]
    scores = [float(row["dice"]) for row in rows]
    best = read_config(run / "best.safetensors").training
    assert best["step"] == int(rows[scores.index(max(scores))]["step"])
    for which, step in (("best", best["step"]), ("last", 8)):
        assert command.main(["export", str(run), str(tmp_path / which), "--which", which]) == 0
        assert read_config(tmp_path / which / "run.safetensors").training["step"] == step
    shutil.copytree(run, tmp_path / "fold1")
    assert command.main(["export", str(run), str(tmp_path / "fold1"), str(tmp_path / "both")]) == 0
    assert len(load_networks(tmp_path / "both", device="cpu")) == 2
    assert command.main(["export", str(run), str(run), str(tmp_path / "both")]) == 1
    assert command.main(["export", str(tmp_path), str(tmp_path / "both")]) == 1
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "two runs are called run" in errors[0]
    assert "holds no weights yet" in errors[1]


def test_run_begins_with_the_weights_that_it_is_given(options, tmp_path, capfd):
    first, tuned, torn = tmp_path / "first", tmp_path / "tuned", tmp_path / "torn"
    learn = ["--steps", "40", "--learning-rate", "2e-2", "--log-every", "10"]
    assert command.main(["--output", str(first), *options, *learn]) == 0
    weights = tmp_path / "start.safetensors"
    shutil.copy(first / "last.safetensors", weights)
    still = [*options, "--steps", "2", "--learning-rate", "1e-9", "--log-every", "1", "--start-from", str(weights)]
    assert command.main(["--output", str(tuned), *still]) == 0
    before, after = read_checkpoint(weights), read_checkpoint(tuned / "last.safetensors")
    for name, tensor in before.tensors.items():  # at this learning rate nothing moves further than two of its steps
        np.testing.assert_allclose(after.tensors[name], tensor, atol=1e-8)
    assert losses(tuned)[1] < 0.5 * losses(first)[10]
    origin = after.config.training["start"]
    assert (origin["file"], origin["licence"]) == ("start.safetensors", "unknown")
    assert origin["training"]["step"] == 40

    torn_run = ["--output", str(torn), *still, "--save-every", "0"]
    assert command.main(torn_run) == 0
    states(torn / "states")[-1].unlink()
    weights.unlink()  # a run that is resumed has its own
    capfd.readouterr()
    assert command.main([*torn_run, "--resume"]) == 0
    assert "resumed at step 1 of 2" in capfd.readouterr().out
    assert read_config(torn / "last.safetensors").training["start"] == origin


def test_weights_for_something_else_are_no_start(options, tmp_path, capfd):
    weights = ROOT / "weights" / "demo.safetensors"
    assert command.main(["--output", str(tmp_path / "run"), *options, "--start-from", str(weights)]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"{weights}: these weights are for other network: NetworkConfig(")
    assert error.count("\n") == 1


def killed_after(step, process):
    """Kill a run as soon as it tells of a step; return that step."""
    for line in process.stdout:
        match = re.match(r"step (\d+) of", line)
        if match and int(match[1]) >= step:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return int(match[1])
    raise AssertionError(process.communicate())


def test_run_killed_at_three_steps_ends_with_the_same_weights_bit_for_bit(options, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    common = [*options, "--steps", "24", "--learning-rate", "1e-2", "--log-every", "1", "--loaders", "1"]
    common += ["--ema", "0.9", "--clip", "1", "--deep-supervision", "--transplant", "0.5", "--noise", "0.5"]
    common += ["--fold", "2/5", "--validate-every", "7"]
    finished("--output", whole, *common, "--save-every", "60")
    # A state every few steps: kills come between two of them.
    arguments = ["--output", torn, *common, "--save-every", "0.003"]
    for i, step in enumerate(sorted(np.random.default_rng(24).choice(np.arange(3, 22), 3, replace=False))):
        killed_after(step, started(*arguments, *["--resume"] * bool(i)))
    out = finished(*arguments, "--resume")
    assert re.search(r"resumed at step [1-9]", out)
    for which in ("last.safetensors", "best.safetensors"):
        one, other = read_checkpoint(whole / which), read_checkpoint(torn / which)
        for name, tensor in one.tensors.items():
            assert tensor.equal(other.tensors[name]), (which, name)
        assert one.config.training["validation"] == other.config.training["validation"]
    assert losses(whole) == losses(torn)
    scores = [[(row["step"], row["dice"]) for row in metrics(run) if row["validated"]] for run in (whole, torn)]
    assert scores[0] == scores[1]
    assert [step for step, _ in scores[0]] == ["7", "14", "21", "24"]


def test_what_a_kill_after_the_last_step_kept_back_is_written_by_resuming(options, tmp_path):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "2", "--fold", "2/5"]
    assert command.main(arguments) == 0
    before, best = read_checkpoint(run / "last.safetensors"), (run / "best.safetensors").read_bytes()
    (run / "last.safetensors").unlink()
    assert command.main([*arguments, "--resume"]) == 0
    after = read_checkpoint(run / "last.safetensors")
    assert all(tensor.equal(after.tensors[name]) for name, tensor in before.tensors.items())
    assert after.config.training["validation"] == before.config.training["validation"] != {}
    assert (run / "best.safetensors").read_bytes() == best


def test_scan_that_cannot_be_validated_is_told_and_left_out(data, tmp_path):
    ours = shutil.copytree(data, tmp_path / "data")
    scan = ours / "imagesTr" / "blob2.mha"
    scan.write_bytes(scan.read_bytes()[:-100])
    told = []
    checkpoint = read_checkpoint(ROOT / "weights" / "demo.safetensors")
    held_out = [one for one in find_sources(f"images:{ours}", seed=0) if one.case in ("blob2", "blob5")]
    how = {"device": torch.device("cpu"), "overlap": 0.25, "warn": told.append}
    found = validate(checkpoint, held_out, stop=lambda: False, **how)
    assert [one.score.case for one in found] == ["blob5"]
    assert len(told) == 1
    assert told[0].startswith("warning: blob2 is left out of this validation: ")
    assert validate(checkpoint, held_out, stop=lambda: True, **how) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_signal_lets_a_run_save_and_end(number, code, options, tmp_path):
    """The whole group of processes gets it, those that make crops included, as from a terminal or a scheduler."""
    run = tmp_path / "run"
    arguments = ["--output", run, *options, "--steps", "100000", "--log-every", "1", "--save-every", "60"]
    process = started(*arguments, "--loaders", "2", start_new_session=True)
    for line in process.stdout:
        if line.startswith("step 3 of"):
            break
    os.killpg(process.pid, number)
    if number == signal.SIGTERM:  # a scheduler may send it twice
        os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines()[-1].endswith("the same command with --resume goes on from the last saved state")
    last = max(losses(run))
    assert [path.stem for path in states(run / "states")] == [f"{last:08d}"]
    assert read_config(run / "last.safetensors").training["step"] == last


def test_damaged_newest_state_gives_way_with_a_warning(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "4", "--log-every", "1", "--save-every", "0", "--keep", "2"]
    assert command.main(arguments) == 0
    before = read_checkpoint(run / "last.safetensors").tensors
    capfd.readouterr()
    older, newest = states(run / "states")
    assert older.stem == "00000003"
    newest.write_bytes(newest.read_bytes()[:-10])
    assert command.main([*arguments, "--resume"]) == 0
    out = capfd.readouterr().out
    assert f"warning: {newest} is not whole, the state before it is taken" in out
    assert "resumed at step 3 of 4" in out
    after = read_checkpoint(run / "last.safetensors").tensors
    assert all(tensor.equal(after[name]) for name, tensor in before.items())
    assert list(losses(run)) == [1, 2, 3, 4]
    # Out of the way, or it would push out good ones.
    assert {path.name for path in (run / "states").iterdir()} == {
        "00000003.state", "00000004.state", "00000004.damaged"
    }  # fmt: skip


def test_run_is_not_mixed_with_another_one(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "2"]
    assert command.main(arguments) == 0
    assert command.main(arguments) == 1
    assert command.main([*arguments, "--resume"]) == 0
    assert command.main([*arguments, "--resume", "--learning-rate", "0.1"]) == 1
    assert command.main([*arguments, "--resume", "--fold", "0/3"]) == 1
    errors = capfd.readouterr().err.splitlines()
    assert errors[0] == f"{run}: holds a run already; go on with --resume, or choose another --output"
    assert f"{run}: the run was begun with another learning" in errors[1]
    assert "another" in errors[2]
    assert len(errors) == 3


def test_two_processes_on_half_batches_learn_as_one_does(options, tmp_path):
    common = [*options, "--steps", "6", "--learning-rate", "1e-2", "--log-every", "1", "--fold", "2/5"]
    finished("--output", tmp_path / "one", *common)
    two_processes = [*TORCHRUN, "-m", TRAIN[2]]
    finished("--output", tmp_path / "two", *common, "--save-every", "0", prefix=two_processes)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=1e-4)
    scores = [[row["dice"] for row in metrics(tmp_path / name) if row["validated"]] for name in ("one", "two")]
    np.testing.assert_allclose(*np.array(scores, float), atol=0.01)
    before = read_checkpoint(tmp_path / "two" / "last.safetensors")
    assert before.config.training["processes"] == 2
    states(tmp_path / "two" / "states")[-1].unlink()
    out = finished("--output", tmp_path / "two", *common, "--save-every", "0", "--resume", prefix=two_processes)
    assert "resumed at step 5 of 6" in out
    after = read_checkpoint(tmp_path / "two" / "last.safetensors")
    assert all(tensor.equal(after.tensors[name]) for name, tensor in before.tensors.items())


def test_crop_of_one_process_that_is_no_number_leaves_the_step_out_in_all(tmp_path):
    finished(tmp_path, prefix=[*TORCHRUN, str(ROOT / "test" / "one_rank_with_nan.py")])
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert [math.isnan(loss) for loss, _ in one] == [False, True, False]
    assert one[0] == two[0]
    assert one[2] == two[2]
    assert one[1][1] == two[1][1] == one[0][1] != one[2][1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_compiled_network_learns_the_same(options, tmp_path, capfd):
    common = [*options, "--steps", "4", "--learning-rate", "1e-2", "--log-every", "1", "--ema", "0.5"]
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        assert command.main(["--output", str(tmp_path / name), *common, *more]) == 0
    plain, compiled = (losses(tmp_path / name) for name in ("plain", "compiled"))
    np.testing.assert_allclose(list(compiled.values()), list(plain.values()), rtol=1e-3)
    one, other = (read_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("plain", "compiled"))
    assert one.keys() == other.keys()
    assert all(torch.allclose(tensor, other[name], atol=2e-2) for name, tensor in one.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_scale_of_float16_gradients_is_part_of_the_state(options, tmp_path):
    run = tmp_path / "run"
    arguments = ["--output", run, *options, "--steps", "4", "--log-every", "1", "--save-every", "0"]
    arguments += ["--device", "cuda", "--precision", "float16"]
    finished(*arguments)
    older, newest = (read_state(path) for path in states(run / "states")[-2:])
    assert newest["trainer"]["scaler"]["scale"] > 0
    states(run / "states")[-1].unlink()
    assert "resumed at step 3 of 4" in finished(*arguments, "--resume")
    again = read_state(states(run / "states")[-1])
    assert older["trainer"]["scaler"]["_growth_tracker"] + 1 == newest["trainer"]["scaler"]["_growth_tracker"]
    assert again["trainer"]["scaler"] == newest["trainer"]["scaler"]


def test_recipe_file_holds_options_and_the_command_line_wins(options, tmp_path, capfd):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("steps = 3\n[learning]\nlearning-rate = 0.01\ndeep-supervision = true\ndemonstration = false\n")
    run = tmp_path / "run"
    assert command.main(["--recipe", str(recipe), "--output", str(run), *options, "--steps", "2"]) == 0
    training = read_config(run / "last.safetensors").training
    assert (training["step"], training["options"]["learning_rate"]) == (2, 0.01)
    assert training["options"]["deep_supervision"] is True
    assert not read_config(run / "last.safetensors").demonstration
    other = ["--recipe", str(recipe), "--output", str(tmp_path / "other"), *options]
    assert command.main([*other, "--epochs", "1", "--no-deep-supervision"]) == 0
    training = read_config(tmp_path / "other" / "last.safetensors").training
    assert (training["step"], training["options"]["deep_supervision"]) == (3, False)  # six cases in batches of two
    for text, words in (
        ("stepps = 3\n", "'stepps' is no option"),
        ("steps = [\n", "no recipe in TOML"),
        ('steps = "many"\n', "invalid int value: 'many'"),
    ):
        recipe.write_text(text)
        assert command.main(["--recipe", str(recipe), "--output", str(run), *options]) == 1
        assert words in capfd.readouterr().err


def test_survey_tells_what_there_is(data, capfd):
    assert command.main(["survey", "--data", f"images:{data}", "phantom:3", "--preparers", "1"]) == 0
    out = capfd.readouterr().out
    assert "6 of 6 patients" in out
    assert "3 of 3 patients" in out
    assert "40×36×32" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data"], "--data: expected at least one argument"),
        (["--data", "phantom:-1"], "phantom"),
        (["--data", "nowhere:x"], "nowhere"),
        (["--data", "images:{folder}/none"], "none"),
        (["--data", "phantom:1", "phantom:1"], "--data names phantom:1 twice"),
        (["--data", "phantom:1", "--steps", "0"], "--steps 0, expected 1 or more"),
        (["--data", "phantom:1", "--learning-rate", "0"], "--learning-rate 0.0"),
        (["--data", "phantom:1", "--learning-rate", "nan"], "--learning-rate nan"),
        (["--data", "phantom:1", "--ema", "1"], "--ema 1.0, expected 0 or more and less than 1"),
        (["--data", "phantom:1", "--validate-every", "5"], "need somebody held out: give --fold or --split"),
        (["--data", "phantom:1", "--misalign", "0.1"], "--misalign moves the CT against the PET and needs --channels"),
        (["--data", "phantom:1", "--transplant", "0.1"], "phantoms give no lesions unless asked to"),
        (["--data", "phantom:1", "--crop", "32", "32", "16"], "one of them twice that at least"),
        (["--data", "phantom:1", "--steps", "3", "--epochs", "2"], "--steps and --epochs exclude each other"),
        (["--data", "phantom:1", "--validate-every", "-1"], "--validate-every -1, expected 0 or more"),
        (["--data", "phantom:many"], "phantom:many"),
        (["--data", "phantom:1", "--output", "{folder}/file"], "is not a folder"),
        (["--data", "phantom:1", "--filters", "1", "2"], "filters (1, 2) for 'dynunet', expected 6"),
        (["--data", "phantom:1", "--window", "30", "32", "32"], "window (30, 32, 32), expected multiples"),
        (["--data", "phantom:1", "--crop", "33", "32", "32"], "--crop [33, 32, 32], expected multiples"),
        (["--data", "phantom:1", "--device", "cpu", "--precision", "float16"], "float16"),
        (["--data", "phantom:1", "--precision", "float128"], "float128"),
        (["--data", "phantom:1", "--shares", "1", "2"], "expected a number above 0 for each of the 1 data sets"),
        (["--data", "phantom:1", "--donors", "phantom:2"], "--donors phantom:2 is none of --data"),
        (["--data", "phantom:1", "--positive", "1.5"], "positive 1.5, expected a number from 0 to 1"),
        (["--data", "phantom:1", "--fold", "5/5"], "fold '5/5'"),
        (["--data", "phantom:1", "--deep-supervision", "--train-in-windows", "0.25"], "cannot be combined"),
        (["--data", "phantom:1", "--channels", "pet,ct"], "a phantom has no CT"),
    ],
)
def test_wrong_command_line_is_refused_in_one_line(arguments, message, tmp_path, capfd):
    (tmp_path / "file").touch()
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert command.main(["--output", str(tmp_path / "run"), *given]) == 1
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "run").glob("states/*"))


def test_memory_stays_level(options, tmp_path):
    """Ten epochs and ten more: what is held in memory after the first ten is all there is."""
    psutil = pytest.importorskip("psutil")
    process = started("--output", tmp_path / "run", *options, "--steps", "60", "--log-every", "3", "--loaders", "1")
    resident = {}
    for line in process.stdout:
        match = re.match(r"step (\d+) of", line)
        if match:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            resident[int(match[1])] = sum(member.memory_info().rss for member in family)
    process.communicate()
    assert process.returncode == 0
    first, last = resident[30], resident[57]
    assert last < 1.03 * first, resident


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_memory_stays_level(options, tmp_path):
    run = tmp_path / "run"
    arguments = ["--steps", "60", "--log-every", "3", "--device", "cuda", "--precision", "float16"]
    finished("--output", run, *options, *arguments)
    peaks = {int(row["step"]): float(row["gpu_gb"]) for row in metrics(run) if row["gpu_gb"]}
    assert list(peaks) == list(range(3, 61, 3))  # twenty epochs
    assert peaks[60] < 1.03 * peaks[30], peaks
