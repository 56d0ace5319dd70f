"""Runs that are killed, stopped and resumed, and of several processes: nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import time
import weakref
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import NARROW, ROOT, TORCHRUN, finished, losses, metrics, started

from swfastedit_core import segment
from swfastedit_core.checkpoint import read_checkpoint, read_config
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.data.sources import find_sources
from swfastedit_core.train.run import training_loop, validation
from swfastedit_core.train.run.states import list_states, read_state
from swfastedit_core.train.run.trainer import Trainer
from swfastedit_core.train.run.validation import validate

pytestmark = pytest.mark.usefixtures("in_one_process", "without_pictures")

ALL_THAT_IS_RANDOM = ["--learning-rate", "1e-2", "--log-every", "1", "--ema", "0.9", "--clip", "1", "--fold", "2/5"]
ALL_THAT_IS_RANDOM += ["--deep-supervision", "--transplant", "0.5", "--noise", "0.5"]


def killed_after(step, process):
    """Kill a run as soon as it tells of a step; return that step."""
    for line in process.stdout:
        match = re.match(r"step (\d+) of", line)
        if match and int(match[1]) >= step:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return int(match[1])
    raise AssertionError(process.communicate())


class Killed(BaseException):
    """Ends a run as a kill does: nobody catches it."""


def kill_at(last, step):
    if step == last:
        raise Killed


def when_a_step_begins(monkeypatch, do):
    """Let `do` be called with the number of each step that is done, before the next one."""
    train_step = Trainer.train_step

    def watched(trainer, *given, **how):
        do(trainer.step)
        return train_step(trainer, *given, **how)

    monkeypatch.setattr(Trainer, "train_step", watched)


def assert_same_run(one, other):
    """Compare weights, losses and validations, bit for bit."""
    for which in ("last.safetensors", "best.safetensors"):
        before, after = read_checkpoint(one / which), read_checkpoint(other / which)
        for name, tensor in before.tensors.items():
            assert tensor.equal(after.tensors[name]), (which, name)
        assert before.config.training["validation"] == after.config.training["validation"]
    assert losses(one) == losses(other)
    scores = [[(row["step"], row["dice"]) for row in metrics(run) if row["validated_cases"]] for run in (one, other)]
    assert scores[0] == scores[1]
    return [step for step, _ in scores[0]]


@pytest.mark.long
def test_run_that_ends_within_two_steps_goes_on_to_the_same_weights_bit_for_bit(options, tmp_path, monkeypatch, capfd):
    """Each time the newest state is lost as well: steps, and a validation, that were done before are done again."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    common = [*options, *ALL_THAT_IS_RANDOM, "--steps", "8", "--validate-every", "3"]
    assert command.main(["--output", str(whole), *common, "--save-every", "60"]) == 0
    arguments = ["--output", str(torn), *common, "--save-every", "0"]
    for last, more in ((3, []), (7, ["--resume"])):
        with monkeypatch.context() as patch:
            when_a_step_begins(patch, partial(kill_at, last))
            with pytest.raises(Killed):
                command.main([*arguments, *more])
        list_states(torn / "states")[-1].unlink()
    capfd.readouterr()
    assert command.main([*arguments, "--resume"]) == 0
    assert "resumed at step 6 of 8" in capfd.readouterr().out
    assert assert_same_run(whole, torn) == ["3", "6", "8"]


@pytest.mark.long
def test_run_killed_at_three_steps_ends_with_the_same_weights_bit_for_bit(options, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    common = [*options, *ALL_THAT_IS_RANDOM, "--steps", "24", "--loaders", "1", "--validate-every", "7"]
    finished("--output", whole, *common, "--save-every", "60")
    # A state every few steps: kills come between two of them.
    arguments = ["--output", torn, *common, "--save-every", "0.003"]
    for i, step in enumerate(sorted(np.random.default_rng(24).choice(np.arange(3, 22), 3, replace=False))):
        killed_after(step, started(*arguments, *["--resume"] * bool(i)))
    out = finished(*arguments, "--resume")
    assert re.search(r"resumed at step [1-9]", out)
    assert assert_same_run(whole, torn) == ["7", "14", "21", "24"]


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


def test_scan_that_cannot_be_validated_is_reported_and_left_out(data, tmp_path):
    ours = shutil.copytree(data, tmp_path / "data")
    scan = ours / "imagesTr" / "blob2.mha"
    scan.write_bytes(scan.read_bytes()[:-100])
    warned = []
    checkpoint = read_checkpoint(ROOT / "weights" / "demo.safetensors")
    held_out = [one for one in find_sources(f"images:{ours}", seed=0) if one.case in ("blob2", "blob5")]
    how = {"device": torch.device("cpu"), "overlap": 0.25, "warn": warned.append}
    found = validate(checkpoint, held_out, should_stop=lambda: False, **how)
    assert [one.plain.score.case for one in found] == ["blob5"]
    assert len(warned) == 1
    assert warned[0].startswith("warning: blob2 is left out of this validation: ")
    assert validate(checkpoint, held_out, should_stop=lambda: True, **how) == []


def test_validation_outlives_what_no_one_thought_of(data, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(validation, "segment", broken)
    warned = []
    checkpoint = read_checkpoint(ROOT / "weights" / "demo.safetensors")
    held_out = find_sources(f"images:{data}", seed=0)[:1]
    how = {"device": torch.device("cpu"), "overlap": 0.25, "warn": warned.append, "should_stop": lambda: False}
    assert validate(checkpoint, held_out, **how) == []
    assert warned == ["warning: blob0 is left out of this validation: RuntimeError: CUDA out of memory"]


ENDS = "; the same command with --resume continues from the last saved state"
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


def assert_saved(run):
    """The last step that is logged is in the only state and in the weights; return it."""
    last = max(losses(run))
    assert [path.stem for path in list_states(run / "states")] == [f"{last:08d}"]
    assert read_config(run / "last.safetensors").training["step"] == last
    return last


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_within_a_step_ends_the_run_after_it(number, options, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    when_a_step_begins(monkeypatch, lambda step: os.kill(os.getpid(), number) if step == 2 else None)
    arguments = ["--output", str(run), *options, "--steps", "100", "--log-every", "1", "--save-every", "60"]
    assert command.main(arguments) == SIGNALS[number]
    assert capfd.readouterr().err.splitlines()[-1].endswith(ENDS)
    assert assert_saved(run) == 4  # within step 3 it comes; the processes tell each other at the next one


@pytest.mark.long
@pytest.mark.parametrize("number", SIGNALS)
def test_signal_lets_a_run_save_and_end(number, options, surveyed, tmp_path):
    """The whole group of processes gets it, those that make crops included, as from a terminal or a scheduler."""
    run = surveyed(tmp_path / "run")
    arguments = ["--output", run, *options, "--steps", "100000", "--log-every", "1", "--save-every", "60"]
    process = started(*arguments, "--loaders", "2" if number == signal.SIGINT else "1", start_new_session=True)
    for line in process.stdout:
        if line.startswith("step 3 of"):
            break
    os.killpg(process.pid, number)
    if number == signal.SIGTERM:  # a scheduler may send it twice
        os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == SIGNALS[number]
    assert err.splitlines()[-1].endswith(ENDS)
    assert_saved(run)


def test_interrupt_before_the_first_state_does_not_promise_one(options, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(training_loop, "_run_steps", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(training_loop, "catch_stop_signals", nullcontext)
    assert command.main(["--output", str(tmp_path / "run"), *options, "--steps", "1"]) == 130
    assert capfd.readouterr().err == "interrupted; no state was saved yet\n"


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("store", ["shared", "new"])
def test_interrupt_while_processes_start_ends_in_one_line(seconds, store, options, surveyed, tmp_path):
    """A process that prepares cases or makes crops still imports then; it must not end with an error."""
    run = surveyed(tmp_path / "run")
    arguments = ["--output", run, *options, "--steps", "100000", "--loaders", "1"]
    arguments += ["--store", tmp_path / "store"] if store == "new" else []
    process = started(*arguments, start_new_session=True)
    for line in process.stdout:
        if "cases to learn from" in line:
            break
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out
    states = list_states(run / "states")
    assert err == f"interrupted{ENDS if states else '; no state was saved yet'}\n"


def test_damaged_newest_state_gives_way_with_a_warning(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "4", "--log-every", "1", "--save-every", "0", "--keep", "2"]
    assert command.main(arguments) == 0
    before = read_checkpoint(run / "last.safetensors").tensors
    capfd.readouterr()
    older, newest = list_states(run / "states")
    assert older.stem == "00000003"
    newest.write_bytes(newest.read_bytes()[:-10])
    assert command.main([*arguments, "--resume"]) == 0
    out = capfd.readouterr().out
    assert f"warning: {newest} is damaged; using the previous state instead" in out
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
    assert errors[0] == f"{run}: already holds a run; continue it with --resume, or choose another --output"
    assert f"{run}: cannot be resumed: --learning-rate was 0.0002 and is 0.1 now; undo the change" in errors[1]
    assert f"{run}: cannot be resumed: --fold was None and is (0, 3) now; undo the change" in errors[2]
    assert len(errors) == 3
    assert json.loads((run / "split.json").read_text())["validation"] == []  # nothing was written before


def test_data_that_changed_are_refused_whoever_is_held_out(data, options, tmp_path, capfd):
    ours = shutil.copytree(data, tmp_path / "data")
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--data", f"images:{ours}", "--steps", "1", "--fold", "2/5"]
    assert command.main(arguments) == 0
    for case, which in (
        ("blob0", "content of the training cases changed: 4 before"),
        ("blob2", "content of the held-out cases changed: 2 before"),
    ):
        label = ours / "labelsTr" / f"{case}.mha"
        before = label.read_bytes()
        shutil.copy(ours / "labelsTr" / "blob1.mha", label)
        assert command.main([*arguments, "--resume"]) == 1
        error = capfd.readouterr().err
        assert f"cannot be resumed: {which}" in error
        assert "1 of them new" in error
        label.write_bytes(before)
    assert command.main([*arguments, "--resume"]) == 0


def test_weights_without_states_are_not_replaced(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "1", "--log-every", "1"]
    assert command.main(arguments) == 0
    weights = (run / "last.safetensors").read_bytes()
    shutil.rmtree(run / "states")
    assert command.main(arguments) == 1
    renames = "start again with --resume-or-start, which renames the weights"
    assert capfd.readouterr().err == (
        f"{run}: holds weights of a run, but no state to resume; choose another --output, or {renames}\n"
    )
    assert command.main([*arguments, "--resume"]) == 1
    assert command.main([*arguments, "--resume-or-start"]) == 0
    assert (run / "earlier-last.safetensors").read_bytes() == weights
    assert (run / "earlier-metrics.csv").is_file()
    assert list(losses(run)) == [1]


def test_best_is_judged_on_the_same_scans(options, tmp_path, capfd):
    """A validation of other scans says nothing of which weights are better."""
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--learning-rate", "2e-2", "--fold", "2/5", "--steps", "9"]
    assert command.main([*arguments, "--validate-every", "8", "--save-every", "0"]) == 0
    validations = [read_state(path)["validation"] for path in list_states(run / "states")]
    assert [each["best"]["cases"] for each in validations[-2:]] == [["blob2", "blob5"]] * 2
    assert read_config(run / "last.safetensors").training["validation"]["step"] == 9
    list_states(run / "states")[-1].unlink()
    capfd.readouterr()
    assert command.main([*arguments, "--validate-every", "8", "--validation-cases", "1", "--resume"]) == 0
    assert "validation cases, overlap or clicks changed" in capfd.readouterr().out
    assert read_state(list_states(run / "states")[-1])["validation"]["best"]["cases"] == ["blob2"]
    assert read_config(run / "best.safetensors").training["step"] == 9


def test_validation_that_is_interrupted_is_made_up_for(options, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--fold", "2/5", "--steps", "2", "--log-every", "1"]
    segmented = []

    def stopped(*given, **how):
        segmented.append(given)
        os.kill(os.getpid(), signal.SIGTERM)
        return segment(*given, **how)

    monkeypatch.setattr(validation, "segment", stopped)
    assert command.main(arguments) == 143
    assert len(segmented) == 1  # of two
    assert not (run / "best.safetensors").exists()
    monkeypatch.undo()
    assert command.main([*arguments, "--resume"]) == 0
    rows = [row for row in metrics(run) if row["validated_cases"]]
    assert [(row["step"], row["validated_cases"]) for row in rows] == [("2", "2")]
    assert read_config(run / "best.safetensors").training["step"] == 2


COMMON = ["--steps", "6", "--learning-rate", "1e-2", "--log-every", "1", "--fold", "2/5"]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, data, prepared):
    """Let two processes learn together, once for all tests of it; return their folder and what they print."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "run").mkdir()
    shutil.copy(prepared[1], folder / "run")
    options = [*NARROW, "--data", f"images:{data}", "--store", str(prepared[0]), *COMMON, "--save-every", "0"]
    program = Path(__file__).with_name("one_of_two_ranks.py")
    return folder, finished(folder, *options, prefix=[*TORCHRUN, str(program)])


@pytest.mark.long
def test_two_processes_on_half_batches_learn_as_one_does(options, two_ranks, tmp_path):
    folder, _ = two_ranks
    assert command.main(["--output", str(tmp_path / "one"), *options, *COMMON]) == 0
    one, two = losses(tmp_path / "one"), losses(folder / "run")
    assert list(one) == list(two) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=1e-4)
    scores = [
        [row["dice"] for row in metrics(run) if row["validated_cases"]] for run in (tmp_path / "one", folder / "run")
    ]
    np.testing.assert_allclose(*np.array(scores, float), atol=0.01)
    assert read_config(folder / "first.safetensors").training["processes"] == 2


@pytest.mark.long
def test_two_processes_that_are_resumed_end_with_the_same_weights(two_ranks):
    folder, out = two_ranks
    assert "resumed at step 5 of 6" in out
    before, after = read_checkpoint(folder / "first.safetensors"), read_checkpoint(folder / "run" / "last.safetensors")
    assert before.config.training["step"] == after.config.training["step"] == 6
    assert all(tensor.equal(after.tensors[name]) for name, tensor in before.tensors.items())


@pytest.mark.long
def test_two_processes_are_refused_while_another_one_trains_in_the_folder(two_ranks):
    assert [(two_ranks[0] / f"refused-{rank}").read_text() for rank in (0, 1)] == ["1", "1"]


@pytest.mark.long
def test_crop_of_one_process_that_is_no_number_leaves_the_step_out_in_all(two_ranks):
    one, two = (json.loads((two_ranks[0] / f"{rank}.json").read_text()) for rank in (0, 1))
    assert [math.isnan(loss) for loss, _ in one] == [False, True, False]
    assert one[0] == two[0]
    assert one[2] == two[2]
    assert one[1][1] == two[1][1] == one[0][1] != one[2][1]


@pytest.mark.long
def test_two_processes_need_not_have_the_same_number_of_rounds(data, prepared, tmp_path):
    """A process that waited for a prediction of the other one would wait for ever."""
    options = [*NARROW, "--data", f"images:{data}", "--store", str(prepared[0]), *COMMON, "--validation-clicks", "1"]
    rounds = ["--interactive", "--rounds", "3", "--stop", "probability"]
    how = {"prefix": [*TORCHRUN, "-m", "swfastedit_core.train"]}
    finished("--output", tmp_path / "run", *options, *rounds, **how)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert float(metrics(tmp_path / "run")[-1]["clicked_dice"]) >= 0
    assert read_config(tmp_path / "run" / "last.safetensors").training["processes"] == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_scale_of_float16_gradients_is_part_of_the_state(options, tmp_path):
    run = tmp_path / "run"
    arguments = ["--output", run, *options, "--steps", "4", "--log-every", "1", "--save-every", "0"]
    arguments += ["--device", "cuda", "--precision", "float16"]
    finished(*arguments)
    older, newest = (read_state(path) for path in list_states(run / "states")[-2:])
    assert newest["trainer"]["scaler"]["scale"] > 0
    list_states(run / "states")[-1].unlink()
    assert "resumed at step 3 of 4" in finished(*arguments, "--resume")
    again = read_state(list_states(run / "states")[-1])
    assert older["trainer"]["scaler"]["_growth_tracker"] + 1 == newest["trainer"]["scaler"]["_growth_tracker"]
    assert again["trainer"]["scaler"] == newest["trainer"]["scaler"]


@pytest.mark.parametrize("loaders", ["0", pytest.param("1", marks=pytest.mark.long)])
def test_crops_of_earlier_steps_are_let_go(loaders, options, tmp_path, monkeypatch):
    train_step, held, alive = Trainer.train_step, [], []

    def watched(trainer, image, label, clicks, **how):
        held.extend((weakref.ref(image), weakref.ref(label)))
        alive.append(sum(crop() is not None for crop in held))
        return train_step(trainer, image, label, clicks, **how)

    monkeypatch.setattr(Trainer, "train_step", watched)
    arguments = ["--output", str(tmp_path / "run"), *options, "--steps", "8", "--transplant", "0.5"]
    assert command.main([*arguments, "--loaders", loaders]) == 0
    assert len(alive) == 8
    assert max(alive) <= 4, alive  # this step's and, until the loop's variables are set anew, the last one's


@pytest.mark.long
def test_memory_stays_level(options, tmp_path):
    """Ten epochs and ten more: what is held in memory after the first ten is all there is."""
    psutil = pytest.importorskip("psutil")
    more = [
        "--whole-crops",
        "--crop",
        "64",
        "64",
        "64",
        "--transplant",
        "0.5",
        "--steps",
        "60",
        "--log-every",
        "3",
        "--loaders",
        "1",
    ]
    process = started("--output", tmp_path / "run", *options, *more)
    resident = {}
    for line in process.stdout:
        match = re.match(r"step (\d+) of", line)
        if match:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            resident[int(match[1])] = sum(member.memory_info().rss for member in family)
    process.communicate()
    assert process.returncode == 0
    # The minimum, because a line of the log may be read while a batch is copied.
    first = min(resident[step] for step in range(18, 37, 3))
    last = min(resident[step] for step in range(39, 58, 3))
    batches_mb = 21 * 2 * 64**3 * 5 / 1e6  # of the steps in between: two crops of float32 and uint8
    assert (last - first) / 1e6 < batches_mb / 2, resident


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_memory_stays_level(options, tmp_path):
    run = tmp_path / "run"
    arguments = ["--steps", "60", "--log-every", "3", "--device", "cuda", "--precision", "float16"]
    finished("--output", run, *options, *arguments)
    peaks = {int(row["step"]): float(row["gpu_gb"]) for row in metrics(run) if row["gpu_gb"]}
    assert list(peaks) == list(range(3, 61, 3))  # twenty epochs
    assert peaks[60] < 1.03 * peaks[30], peaks
