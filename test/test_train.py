from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from swfastedit_core import Geometry, UserError, Volume, load_networks, read_volume, segment, write_mask, write_volume
from swfastedit_core.checkpoint import CheckpointConfig, read_checkpoint
from swfastedit_core.metrics import dice
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing, RangeIntensity
from swfastedit_core.train import __main__ as command
from swfastedit_core.train import loop
from swfastedit_core.train.cases import Source, TrainingCase, folder_sources, phantom_sources, prepare_cases
from swfastedit_core.train.loop import STATE, Cadence, Schedule, Trainer, train
from swfastedit_core.train.patches import draw_batch, draw_crop

CPU = torch.device("cpu")
GRID = Geometry((40, 36, 32), (4.0, 4.0, 4.0))
PATCH = (32, 32, 32)
CONFIG = CheckpointConfig(
    NetworkConfig("dynunet", (4,) * 6), Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 10.0)), window=PATCH
)
SCHEDULE = Schedule(steps=8, batch=2, patch=PATCH, learning_rate=1e-3, seed=5)


def blob(seed):
    """Make a warm body with one hot ball in it, and the ball's mask."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(GRID.shape_zyx)
    centre = rng.uniform((9, 10, 12), (22, 25, 27))
    ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 25
    body = (np.abs(y - 18) < 14) & (np.abs(x - 20) < 16)
    suv = 1.0 * body + 6.0 * ball + rng.normal(0, 0.1, ball.shape)
    return Volume(np.maximum(suv, 0).astype(np.float32), GRID), Volume(ball, GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write five scans with labels."""
    top = tmp_path_factory.mktemp("blobs")
    for seed in range(5):
        scan, label = blob(seed)
        write_volume(scan, top / "imagesTr" / f"{seed}.mha")
        write_mask(label, top / "labelsTr" / f"{seed}.mha")
    return top


@pytest.fixture(scope="module")
def cases(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return list(prepare_cases(folder_sources(folder), store, CONFIG.preprocessing, workers=1))


def test_cases_lie_on_the_networks_grid(cases):
    scan, label = blob(2)
    case = cases[2]
    assert case.name.startswith("2.mha.")
    expected = np.clip(scan.array_zyx / 10.0, 0, 1).transpose(2, 1, 0)[::-1, ::-1]
    np.testing.assert_allclose(case.image, expected, atol=1e-3)
    np.testing.assert_array_equal(case.label, label.array_zyx.transpose(2, 1, 0)[::-1, ::-1])
    assert len(case.foreground) == label.array_zyx.sum()
    low, high = case.patient.min(axis=0), case.patient.max(axis=0)  # the body spans 32 × 28 × 32 of 40 × 36 × 32
    assert (low >= (3, 3, 0)).all()
    assert (high - low > (24, 20, 24)).all()


def test_crops_are_cut_from_the_case_and_most_hold_the_lesion(cases):
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        image, label = draw_crop(cases[0], rng, patch=(8, 8, 8))
        assert image.shape == label.shape == (8, 8, 8)
        assert image[label == 1].min(initial=1.0) > 0.3  # label and image stay together, however they are turned
        hits += bool(label.any())
    assert 0.55 < hits / 200 < 0.8  # 0.6 by intent, some more by chance


def test_crop_larger_than_the_case_is_surrounded_by_air(cases):
    image, label = draw_crop(cases[0], np.random.default_rng(3), patch=(64, 64, 64))
    assert image.shape == (64, 64, 64)
    assert label.sum() == len(cases[0].foreground)
    assert image[0].max() == image[-1].max() == 0


def run(cases, folder, steps, schedule=SCHEDULE):
    """Train up to a step, as if the program had been stopped there."""
    folder.mkdir(exist_ok=True)
    trainer = Trainer(CONFIG, schedule, device=CPU, precision="float32")
    if (folder / STATE).exists():
        trainer.resume(folder)
    lines = []
    stopped = type("Stopped", (Exception,), {})

    def say(line):
        lines.append(line)
        if line.startswith(f"step {steps} ") and steps < schedule.steps:
            raise stopped

    with suppress(stopped):
        train(trainer, cases, [], folder, cadence=Cadence(log=1, save=2), say=say)
    return trainer


def test_resumed_run_ends_with_the_same_weights(cases, tmp_path):
    whole = run(cases, tmp_path / "whole", 8)
    run(cases, tmp_path / "halves", 5)  # state of step 4 is on disk
    resumed = run(cases, tmp_path / "halves", 8)
    assert resumed.step == whole.step == 8
    fresh = Trainer(CONFIG, SCHEDULE, device=CPU, precision="float32").network.state_dict()
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name])
    assert not torch.equal(fresh["bottleneck.conv1.conv.weight"], tensor_of(whole, "bottleneck.conv1.conv.weight"))


def tensor_of(trainer, name):
    return trainer.network.state_dict()[name]


def test_resuming_with_other_settings_is_refused(cases, tmp_path):
    run(cases, tmp_path, 8)
    others = {
        "steps: 8, now 9": Trainer(CONFIG, replace(SCHEDULE, steps=9), device=CPU, precision="float32"),
        "precision: float32, now bfloat16": Trainer(CONFIG, SCHEDULE, device=CPU, precision="bfloat16"),
        "cases: 0 of them, now 1 of them": Trainer(CONFIG, SCHEDULE, device=CPU, precision="float32", cases=["a"]),
    }
    for words, other in others.items():
        with pytest.raises(UserError, match=f"holds a run with other {words}"):
            other.resume(tmp_path)


def test_damaged_and_foreign_states_are_refused(tmp_path):
    trainer = Trainer(CONFIG, SCHEDULE, device=CPU, precision="float32")
    (tmp_path / STATE).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="cannot be read"):
        trainer.resume(tmp_path)
    torch.save({"epoch": 3}, tmp_path / STATE)
    with pytest.raises(UserError, match="cannot be read"):
        trainer.resume(tmp_path)


def test_dropout_goes_on_with_the_same_random_numbers(tmp_path):
    network = NetworkConfig("hugedynunet", (2,) * 7)
    config = CheckpointConfig(network, CONFIG.preprocessing, window=(128, 128, 128))
    trainer = Trainer(config, SCHEDULE, device=CPU, precision="float32")
    trainer.save(tmp_path)
    drawn = torch.rand(5)
    resumed = Trainer(config, SCHEDULE, device=CPU, precision="float32")
    resumed.resume(tmp_path)
    assert torch.equal(torch.rand(5), drawn)
    assert sum(isinstance(module, torch.nn.Dropout) for module in resumed.network.modules()) > 10


def test_loss_that_is_never_finite_ends_the_run():
    trainer = Trainer(CONFIG, SCHEDULE, device=CPU, precision="float32")
    image, label = torch.full((1, 1, *PATCH), float("nan")), torch.zeros(1, 1, *PATCH)
    for _ in range(19):
        trainer.learn(image, label)
    with pytest.raises(UserError, match="no finite loss for 20 steps"):
        trainer.learn(image, label)
    assert torch.isfinite(tensor_of(trainer, "bottleneck.conv1.conv.weight")).all()


def test_each_step_is_taken_at_the_learning_rate_of_the_schedule(cases):
    trainer = Trainer(CONFIG, SCHEDULE, device=CPU, precision="float32")
    for step in range(3):
        trainer.learn(*draw_batch(cases, np.random.default_rng(step), count=1, patch=PATCH))
        assert trainer.optimiser.param_groups[0]["lr"] == SCHEDULE.learning_rate_at(step)


def test_validation_names_its_scores(tmp_path, narrow_checkpoint, monkeypatch):
    scan, label = blob(0)
    found = np.zeros_like(label.array_zyx)
    found[:2, :2, :2] = 1  # a corner far from the lesion: all of it is false, all of the lesion missed
    monkeypatch.setattr(loop, "segment", lambda *_, **__: SimpleNamespace(mask=Volume(found, label.geometry)))
    scores = loop.validate(read_checkpoint(narrow_checkpoint), [Source("a", "a", lambda: (scan, label))], CPU)
    ml = label.geometry.voxel_ml
    missed = round(int(label.array_zyx.sum()) * ml, 4)
    assert scores == {"cases": 1, "dice": 0.0, "fpv_ml": round(8 * ml, 4), "fnv_ml": missed}
    assert missed != scores["fpv_ml"]


def test_crops_lie_in_the_patient_and_are_flipped_as_often_as_they_should():
    """The values of this case tell where a crop lies and which way round it is."""
    shape = (40, 40, 40)
    image = np.broadcast_to(np.arange(40.0, dtype=np.float16)[:, None, None], shape)
    case = TrainingCase("ramp", image, np.zeros(shape, np.uint8), np.array([], int), np.array([[30, 30, 30]]))
    rng = np.random.default_rng(0)
    crops = [draw_crop(case, rng, patch=(8, 6, 4))[0][:, 0, 0] for _ in range(2000)]
    assert 0.72 < np.mean([crop.min() == 26 for crop in crops]) < 0.79  # three quarters, and some by chance
    assert 0.08 < np.mean([crop[0] > crop[-1] for crop in crops]) < 0.12


def test_learning_rate_falls_as_a_cosine():
    assert SCHEDULE.learning_rate_at(0) == 1e-3
    assert SCHEDULE.learning_rate_at(4) == pytest.approx(5e-4, rel=1e-4)
    assert SCHEDULE.learning_rate_at(8) == pytest.approx(1e-8)


def test_command_learns_resumes_and_exports_weights_that_find_the_lesion(folder, tmp_path, capfd):
    weights = tmp_path / "blobs.safetensors"
    arguments = [
        *("--run", str(tmp_path / "run"), "--export", str(weights), "--data", str(folder), "--validation", "1"),
        *("--filters", "4", "4", "4", "4", "4", "4", "--spacing", "4", "4", "4", "--suv-range", "0", "10"),
        *("--patch", "32", "32", "32", "--steps", "60", "--batch", "2", "--learning-rate", "2e-2", "--seed", "1"),
        *("--workers", "1", "--device", "cpu", "--precision", "float32", "--half", "--demonstration"),
    ]
    assert command.main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    config = read_checkpoint(weights).config
    assert config.demonstration
    assert config.window == PATCH
    assert config.preprocessing == CONFIG.preprocessing
    assert config.training["command"].startswith("python -m swfastedit_core.train --run ")
    assert config.training["seed"] == 1
    scan, label = blob(99)
    found = segment(scan, load_networks(weights, device="cpu", precision="float32")).mask
    assert dice(label.array_zyx, found.array_zyx) > 0.9
    assert config.training["validation"]["dice"] > 0.9
    before = weights.read_bytes()
    assert command.main(arguments) == 0  # finished: trains nothing, exports the same
    assert "resumed at step 60" in capfd.readouterr().out
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to learn from"),
        (("--phantoms", "-1"), "--phantoms -1, expected 0 or more"),
        (("--phantoms", "1", "--steps", "0"), "--steps 0, expected 1 or more"),
        (("--phantoms", "1", "--learning-rate", "0"), "--learning-rate 0.0"),
        (("--phantoms", "1", "--learning-rate", "inf"), "--learning-rate inf, expected more than 0 and less than 1"),
        (("--phantoms", "1", "--validate-every", "-1"), "--validate-every -1, expected 0 or more"),
        (("--phantoms", "many"), "invalid int value: 'many'; see python -m swfastedit_core.train --help"),
        (("--phantoms", "1", "--export", "{folder}.safetensors/x.safetensors"), "is not a folder"),
        (("--phantoms", "1", "--run", "{folder}.safetensors"), "is not a folder"),
        (("--phantoms", "1", "--filters", "1", "2"), "filters (1, 2) for 'dynunet', expected 6"),
        (("--phantoms", "1", "--patch", "30", "32", "32"), "window (30, 32, 32), expected multiples of (32, 32, 16)"),
        (("--phantoms", "1", "--patch", "32", "32", "16"), "window (32, 32, 16), expected multiples of (32, 32, 16)"),
        (("--data", "nowhere"), "expected the folders imagesTr and labelsTr"),
        (("--phantoms", "1", "--precision", "float16", "--device", "cpu"), "float16"),
    ],
)
def test_wrong_command_line_is_refused_in_one_line(arguments, message, tmp_path, capfd):
    common = ["--run", str(tmp_path / "run"), "--export", str(tmp_path / "x.safetensors")]
    (tmp_path / "file.safetensors").touch()
    given = [argument.format(folder=tmp_path / "file") for argument in arguments]
    assert command.main([*common, *given]) == 1
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_scan_without_label_is_refused(folder, tmp_path):
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    (tmp_path / "imagesTr" / "lonely.mha").write_bytes(b"x")
    with pytest.raises(UserError, match=r"without a label of the same name: lonely\.mha"):
        folder_sources(tmp_path)


def test_label_on_another_grid_is_refused(tmp_path):
    scan, label = blob(0)
    write_volume(scan, tmp_path / "imagesTr" / "a.mha")
    moved = Geometry(GRID.size_xyz, GRID.spacing_mm, (5.0, 0.0, 0.0))
    write_mask(Volume(label.array_zyx, moved), tmp_path / "labelsTr" / "a.mha")
    with pytest.raises(UserError, match="the label's grid"):
        list(prepare_cases(folder_sources(tmp_path), tmp_path / "store", CONFIG.preprocessing, workers=1))


def test_store_of_another_preprocessing_is_refused(cases, folder, tmp_path):
    list(prepare_cases([], tmp_path, CONFIG.preprocessing, workers=1))
    with pytest.raises(UserError, match="use another --run"):
        list(prepare_cases([], tmp_path, Preprocessing(), workers=1))


def test_phantoms_of_training_are_those_of_the_phantom_command(tmp_path):
    arguments = ["--cases", "2", "--seed", "3", "--output", str(tmp_path), "--format", "mha"]
    subprocess.run(
        [sys.executable, "-m", "swfastedit_core.phantom", *arguments], check=True, cwd=Path(__file__).parent.parent
    )
    scan, label = phantom_sources(seed=3, first=1, count=1)[0].read()
    written = read_volume(tmp_path / "imagesTr" / "phantom_3_0001.mha").array_zyx
    np.testing.assert_allclose(written, scan.array_zyx, atol=1 / 512)  # files hold SUV in steps of 1/256
    np.testing.assert_array_equal(read_volume(tmp_path / "labelsTr" / "phantom_3_0001.mha").array_zyx, label.array_zyx)


def test_prepared_cases_are_used_again_until_a_file_changes(tmp_path):
    def prepared():
        (case,) = prepare_cases(folder_sources(tmp_path), tmp_path / "store", CONFIG.preprocessing, workers=1)
        return case

    def stored():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.npy")}

    scan, label = blob(0)
    write_volume(scan, tmp_path / "imagesTr" / "a.mha")
    write_mask(label, tmp_path / "labelsTr" / "a.mha")
    assert prepared().image.dtype == np.float16
    before = stored()
    assert len(before) == 2
    assert prepared().label.sum() == label.array_zyx.sum()
    assert stored() == before
    write_mask(blob(1)[1], tmp_path / "labelsTr" / "a.mha")
    assert prepared().label.sum() == blob(1)[1].array_zyx.sum()
    assert len(stored()) == 4
    assert json.loads((tmp_path / "store" / "preprocessing.json").read_text())["spacing_mm"] == [4.0, 4.0, 4.0]
