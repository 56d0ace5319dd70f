"""The real command: options, runs that end, weights for the program."""

from __future__ import annotations

import json
import shutil
from functools import partial

import nibabel
import numpy as np
import pytest
import torch
from blobs import blob, write_blobs
from runs import NARROW, ROOT, losses, metrics
from safetensors import safe_open

from swfastedit_core import Geometry, UserError, Volume, load_networks, read_label, read_volume, segment, write_volume
from swfastedit_core.checkpoint import read_checkpoint, read_config
from swfastedit_core.metrics.overlap import dice
from swfastedit_core.phantom import make_phantom
from swfastedit_core.train import __main__ as command
from swfastedit_core.train.run.states import list_states

pytestmark = pytest.mark.usefixtures("in_one_process")


@pytest.mark.long
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
    validated = [row for row in metrics(run) if row["validated_cases"]]
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


@pytest.mark.long
def test_best_and_last_weights_are_exported_as_asked(options, tmp_path, capfd):
    run = tmp_path / "run"
    arguments = ["--output", str(run), *options, "--steps", "8", "--learning-rate", "2e-2", "--fold", "2/5"]
    assert command.main([*arguments, "--validate-every", "2", "--validation-cases", "1"]) == 0
    rows = [row for row in metrics(run) if row["validated_cases"]]
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
    assert (after.config.licence, after.config.demonstration) == ("unknown", False)
    origin = after.config.training["start"]
    assert (origin["file"], origin["licence"]) == ("start.safetensors", "unknown")
    assert origin["training"]["step"] == 40

    torn_run = ["--output", str(torn), *still, "--save-every", "0"]
    assert command.main(torn_run) == 0
    list_states(torn / "states")[-1].unlink()
    weights.unlink()  # a run that is resumed has its own
    capfd.readouterr()
    assert command.main([*torn_run, "--resume"]) == 0
    assert "resumed at step 1 of 2" in capfd.readouterr().out
    assert read_config(torn / "last.safetensors").training["start"] == origin


def test_weights_for_something_else_are_no_start(options, tmp_path, capfd):
    weights = ROOT / "weights" / "demo.safetensors"
    assert command.main(["--output", str(tmp_path / "run"), *options, "--start-from", str(weights)]) == 1
    error = capfd.readouterr().err
    assert error.startswith(
        f"{weights}: the weights have another network than the run: filters 8,16,32,64,80,80 instead of "
    )
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "file", "message"),
    [
        ("--start-from", "runs/phantoms/last.safetensors", "no such file; the run with --output {folder}/runs/phantoms "
         "writes it, so train this earlier stage first"),
        ("--start-from", "mine.safetensors", "no such file, expected weights"),
        ("--start-from", "", "is not a file, expected weights"),
        ("--split", "split.json", "no such file"),
        ("--options", "options.toml", "cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_missing_file_is_reported_with_its_option(option, file, message, options, tmp_path, capfd):
    assert command.main(["--output", str(tmp_path / "run"), *options, option, str(tmp_path / file)]) == 1
    assert capfd.readouterr().err == f"{option} {tmp_path / file}: {message.format(folder=tmp_path)}\n"


def assert_compiled_learns_the_same(arguments, tmp_path, *, loss_rtol, weights_atol):
    """Do a run as it is and one that is compiled, and compare losses and weights."""
    common = [*arguments, "--network", "smalldynunet", "--filters", "4", "4", "4"]  # compiled in half a minute
    common += ["--steps", "4", "--learning-rate", "1e-2", "--log-every", "1", "--ema", "0.5"]
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        assert command.main(["--output", str(tmp_path / name), *common, *more]) == 0
    plain, compiled = (losses(tmp_path / name) for name in ("plain", "compiled"))
    np.testing.assert_allclose(list(compiled.values()), list(plain.values()), rtol=loss_rtol)
    one, other = (read_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("plain", "compiled"))
    assert one.keys() == other.keys()
    assert all(torch.allclose(tensor, other[name], rtol=1e-5, atol=weights_atol) for name, tensor in one.items())


@pytest.mark.long
def test_compile_hands_the_network_to_torchs_compiler(options, tmp_path, monkeypatch):
    """The network is traced, and run as it was: what a compiler makes of it takes half a minute."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    assert_compiled_learns_the_same(options, tmp_path, loss_rtol=1e-6, weights_atol=1e-6)
    assert graphs


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_compiled_network_learns_the_same(options, tmp_path):
    assert_compiled_learns_the_same(options, tmp_path, loss_rtol=1e-3, weights_atol=2e-2)


def test_options_file_holds_options_and_the_command_line_wins(options, tmp_path, capfd):
    file = tmp_path / "options.toml"
    file.write_text("steps = 3\n[learning]\nlearning-rate = 0.01\ndeep-supervision = true\ndemonstration = false\n")
    run = tmp_path / "run"
    assert command.main(["--options", str(file), "--output", str(run), *options, "--steps", "2"]) == 0
    training = read_config(run / "last.safetensors").training
    assert (training["step"], training["options"]["learning_rate"]) == (2, 0.01)
    assert training["options"]["deep_supervision"] is True
    assert not read_config(run / "last.safetensors").demonstration
    other = ["--options", str(file), "--output", str(tmp_path / "other"), *options]
    assert command.main([*other, "--epochs", "1", "--no-deep-supervision"]) == 0
    training = read_config(tmp_path / "other" / "last.safetensors").training
    assert (training["step"], training["options"]["deep_supervision"]) == (3, False)  # six cases in batches of two
    for text, words in (
        ("stepps = 3\n", "'stepps' is not an option"),
        ("steps = [\n", "not a TOML file of options"),
        ('steps = "many"\n', "invalid int value: 'many'"),
    ):
        file.write_text(text)
        assert command.main(["--options", str(file), "--output", str(run), *options]) == 1
        assert words in capfd.readouterr().err


def test_survey_prints_cases_and_sizes(data, capfd):
    assert command.main(["survey", "--data", f"images:{data}", "phantom:3", "--preparers", "1"]) == 0
    out = capfd.readouterr().out
    assert "6 of 6 patients" in out
    assert "3 of 3 patients" in out
    assert "40×36×32" in out
    assert "remark" not in out


def test_survey_lists_every_problem_in_its_table_and_fails_with_one_line(tmp_path, capfd):
    data = write_blobs(tmp_path, 3)
    (data / "imagesTr" / "blob1.mha").rename(data / "imagesTr" / "blob1.MHA")
    (data / "imagesTr" / "blob2.mha").unlink()
    assert command.main(["survey", "--data", f"images:{data}"]) == 1
    out, error = capfd.readouterr()
    assert [line for line in out.splitlines() if line.startswith("problem: ")] == [
        f"problem: blob1 in images:{data}: the case has no scan, expected {data}/imagesTr/blob1.mha; blob1.MHA differs "
        "from it in upper and lower case, rename it",
        f"problem: blob2 in images:{data}: the case has no scan, expected {data}/imagesTr/blob2.mha",
    ]
    assert error.startswith("2 of 3 cases cannot be used; ")
    assert error.count("\n") == 1
    assert command.main(["survey", "--data", f"images:{data}", "--skip-bad"]) == 0
    assert capfd.readouterr().err == ""


def write_visits(folder):
    """Write three scans: two of sub-1, and one of sub-2 with the voxels of the first."""
    for name, seed in (("sub-1_ses-1", 0), ("sub-1_ses-2", 1), ("sub-2_ses-1", 0)):
        scan, label = blob(seed)
        write_volume(scan, folder / "imagesTr" / f"{name}.nii.gz")
        write_volume(Volume(label.array_zyx.astype(np.uint8), label.geometry), folder / "labelsTr" / f"{name}.nii.gz")
    return folder


def test_survey_remarks_on_names_and_duplicates_and_groups_by_patient(tmp_path, capfd):
    data = write_visits(tmp_path)
    names = "sub-1_ses-1 and sub-1_ses-2 count as different patients"
    twin = f"remark: sub-2_ses-1 in images:{data}: the scan has the same voxels as sub-1_ses-1 in images:{data}"
    assert command.main(["survey", "--data", f"images:{data}"]) == 0
    out = capfd.readouterr().out
    assert "3 of 3 patients" in out
    assert f"  remark        {names}" in out
    assert f"{twin}, and they count as different patients" in out
    assert command.main(["survey", "--data", f"images:{data}", "--patient", "(sub-[0-9]+)_"]) == 0
    out = capfd.readouterr().out
    assert "3 of 2 patients" in out
    assert names not in out
    assert twin in out


def test_training_refuses_the_same_scan_in_both_sets(tmp_path, capfd):
    data, split = write_visits(tmp_path / "data"), tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["sub-1"], "validation": ["sub-2"]}))
    arguments = ["--output", str(tmp_path / "run"), *NARROW, "--data", f"images:{data}", "--split", str(split)]
    assert command.main([*arguments, "--patient", "(sub-[0-9]+)_", "--steps", "1"]) == 1
    assert capfd.readouterr().err == (
        f"{split}: the same voxels are in both sets: sub-1_ses-1 of patient sub-1 in the training set, sub-2_ses-1 of "
        "patient sub-2 in the validation set; remove one of the two, or put them in one set with --patient or "
        "--split\n"
    )
    assert not (tmp_path / "run" / "states").exists()


def test_survey_says_which_channel_it_took_and_takes_the_options(tmp_path, capfd):
    scan, label = blob(0)
    ct = Volume(scan.array_zyx * 100 - 1000, scan.geometry)
    for number, volume in enumerate((ct, scan)):
        write_volume(volume, tmp_path / "imagesTr" / f"a_{number:04d}.mha")
    write_volume(Volume(label.array_zyx.astype(np.uint8), label.geometry), tmp_path / "labelsTr" / "a.mha")
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "CT"}}')
    arguments = ["survey", "--data", f"images:{tmp_path}", "--channels", "pet,ct"]
    assert command.main(arguments) == 0
    out = capfd.readouterr().out
    assert "by their content, channel 1 is the PET and channel 0 is the CT; --pet-channel and" in out.splitlines()[-1]
    assert command.main([*arguments, "--pet-channel", "1", "--ct-channel", "0"]) == 0
    assert "remark" not in capfd.readouterr().out
    assert command.main([*arguments, "--pet-channel", "0", "--ct-channel", "1"]) == 1
    out, error = capfd.readouterr()
    assert "problem: a in " in out
    assert "minimum -1,000 looks like a CT in HU" in error


def test_survey_takes_the_coordinates_that_the_user_names(tmp_path, capfd):
    data = write_blobs(tmp_path, 1)
    for name, read in (("imagesTr", read_volume), ("labelsTr", read_label)):
        path = data / name / "blob0.mha"
        write_volume(read(path), path.with_suffix(".nii"))
        path.unlink()
        image = nibabel.load(path.with_suffix(".nii"), mmap=False)
        image.set_qform(np.diag([-5.0, -5.0, 5.0, 1.0]), code=1)
        nibabel.save(image, path.with_suffix(".nii"))
    assert command.main(["survey", "--data", f"images:{data}"]) == 1
    assert "--geometry qform" in capfd.readouterr().err
    for form, spacing in (("qform", "5×5×5"), ("sform", "4×4×4")):
        assert command.main(["survey", "--data", f"images:{data}", "--geometry", form]) == 0
        assert f"  spacing mm    {spacing} (1)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data"], "--data: expected at least one argument"),
        (["--data", "phantom:-1"], "phantom"),
        (["--data", "nowhere:x"], "nowhere"),
        (["--data", "images:{folder}/none"], "none"),
        (["--data", "phantom:1", "phantom:1"], "--data names phantom:1 twice"),
        (["--data", "phantom:1", "--steps", "0"], "--steps 0, expected 1 or more"),
        (["--data", "phantom:1", "--learning-rate", "0"], "--learning-rate 0, expected more than 0 and less than 1"),
        (["--data", "phantom:1", "--learning-rate", "nan"], "--learning-rate nan"),
        (["--data", "phantom:1", "--ema", "1"], "--ema 1, expected 0 or more and less than 1"),
        (["--data", "phantom:1", "--validate-every", "5"], "need held-out cases: give --fold, --split or"),
        (["--data", "phantom:1", "--misalign", "0.1"], "--misalign moves the CT against the PET and needs --channels"),
        (["--data", "phantom:1", "--transplant", "0.1"], "phantoms, which are not donors by default; add patient"),
        (["--data", "phantom:1", "--scale", "0.1"], "it needs --suv-range"),
        (["survey", "--data", "phantom:1", "--fold", "0/5"], "unrecognized arguments: --fold 0/5"),
        (
            ["survey", "--data", "phantom:1", "--pet-channel", "1"],
            "no effect: they are for data sets of the layout images",
        ),
        (["--data", "images:x", "--pet-channel", "1", "--ct-channel", "1"], "are both 1, expected two channels"),
        (["--data", "images:x", "--pet-channel", "-1"], "--pet-channel -1, expected 0 or more"),
        (["survey", "--data", "phantom:1", "--patient", "x"], "has 0 capture groups, expected one"),
        (["survey", "--data", "phantom:1", "--spacing", "0", "1", "1"], "--spacing 0 1 1, expected numbers from"),
        (
            ["survey", "--data", "phantom:1", "--spacing", "0.05", "4", "4"],
            "--spacing 0.05 4 4, expected numbers",
        ),
        (["--data", "phantom:1", "--spacing", "4", "4", "200"], "--spacing 4 4 200, expected numbers from 0.1 to 100"),
        (["--data", "phantom:1", "--whole-crops", "--crop", "32", "32", "16"], "one of them at least twice that"),
        (["--data", "phantom:1", "--steps", "3", "--epochs", "2"], "--steps and --epochs exclude each other"),
        (["--data", "phantom:1", "--validate-every", "-1"], "--validate-every -1, expected 0 or more"),
        (["--data", "phantom:many"], "phantom:many"),
        (["--data", "phantom:1", "--output", "{folder}/file"], "is not a folder"),
        (["--data", "phantom:1", "--filters", "1", "2"], "filters (1, 2) for 'dynunet', expected 6"),
        (["--data", "phantom:1", "--window", "30", "32", "32"], "window (30, 32, 32), expected multiples"),
        (["--data", "phantom:1", "--whole-crops", "--crop", "33", "32", "32"], "--crop 33 32 32, expected multiples"),
        (["--data", "phantom:1", "--device", "cpu", "--precision", "float16"], "float16"),
        (["--data", "phantom:1", "--precision", "float128"], "float128"),
        (["--data", "phantom:1", "--shares", "1", "2"], "expected a number above 0 for each of the 1 data sets"),
        (["--data", "phantom:1", "--donor-data", "phantom:2"], "--donor-data phantom:2: expected a data set of --data"),
        (["--data", "phantom:1", "--positive", "1.5"], "--positive 1.5, expected a number from 0 to 1"),
        (["--data", "phantom:1", "--fold", "5/5"], "fold '5/5'"),
        (["--data", "phantom:1", "--deep-supervision"], "--deep-supervision needs --whole-crops, or crops of the"),
        (["--data", "phantom:1", "--whole-crops", "--train-in-windows", "0.25"], "exclude each other"),
        (
            ["--data", "phantom:1", "--crop", "128", "128", "96"],
            "--crop 128 128 96, expected at least --window 128 128",
        ),
        (["--data", "images:x", "--validate-on", "imagesTs", "--fold", "0/5"], "exclude each other"),
        (["--data", "phantom:1", "--validate-on", "imagesTs"], "needs a data set of the layout images"),
        (["--data", "images:x", "--validate-on", "imagesTr"], "invalid choice: 'imagesTr'"),
        (["--data", "phantom:1", "--limit", "0"], "--limit 0, expected 1 or more"),
        (["--data", "phantom:1", "--schedule", "step"], "invalid choice: 'step'"),
        (["--data", "phantom:1", "--channels", "pet,ct"], "a phantom has no CT"),
    ],
)
def test_wrong_command_line_is_refused_in_one_line(arguments, message, tmp_path, capfd):
    (tmp_path / "file").touch()
    given = [argument.format(folder=tmp_path) for argument in arguments]
    output = [] if given[0] == "survey" else ["--output", str(tmp_path / "run")]
    assert command.main([*output, *given]) == 1
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "run").glob("states/*"))


def test_misspelled_command_is_not_taken_for_options(capfd):
    assert command.main(["exprot", "runs/fold0", "weights"]) == 1
    expected = "unknown command 'exprot', expected survey or export, or the options of a training run; see --help\n"
    assert capfd.readouterr().err == expected


@pytest.mark.long
def test_pet_and_ct_are_learned_from_and_used(options, data, tmp_path):
    """The CT shows the lesion, the PET does not: what finds it has learned from the CT."""
    ours = shutil.copytree(data, tmp_path / "data")
    for label in (ours / "labelsTr").iterdir():
        truth = read_label(label)
        pet = ours / "imagesTr" / label.name
        blank = read_volume(pet).array_zyx.clip(0, 1)
        write_volume(Volume(blank, truth.geometry), pet)
        write_volume(Volume(truth.array_zyx * 1000.0 - 500.0, truth.geometry), ours / "ct" / label.name)
    run = tmp_path / "run"
    learn = ["--channels", "pet,ct", "--fold", "2/5", "--steps", "60", "--learning-rate", "2e-2", "--misalign", "0.2"]
    assert command.main(["--output", str(run), *options, "--data", f"images:{ours}", *learn]) == 0
    assert float(metrics(run)[-1]["dice"]) > 0.8
    assert command.main(["export", str(run), str(tmp_path / "weights")]) == 0
    networks = load_networks(tmp_path / "weights", device="cpu", precision="float32")
    pet = read_volume(ours / "imagesTr" / "blob2.mha")
    ct, truth = (read_label(ours / folder / "blob2.mha") for folder in ("ct", "labelsTr"))
    assert dice(truth.array_zyx, segment(pet, networks, ct=ct).mask.array_zyx) > 0.8
    with pytest.raises(UserError, match="CT"):
        segment(pet, networks)


@pytest.mark.long
def test_two_data_sets_a_bad_case_and_the_runs_own_split_again(options, data, tmp_path, monkeypatch, capfd):
    coarse = Geometry((60, 50, 110), (8.0, 8.0, 8.0), (-236.0, -196.0, -900.0))
    monkeypatch.setattr("swfastedit_core.train.data.sources.make_phantom", partial(make_phantom, geometry=coarse))
    ours = shutil.copytree(data, tmp_path / "data")
    (ours / "labelsTr" / "blob0.mha").write_bytes(b"")
    sets = ["--data", f"images:{ours}", "phantom:2", "--shares", "0.9", "0.1", "--steps", "2", "--skip-bad"]
    first = ["--output", str(tmp_path / "first"), *options, *sets, "--fold", "2/5", "--train-in-windows", "0.25"]
    assert command.main([*first, "--crop", "40", "36", "32"]) == 0
    out = capfd.readouterr().out
    assert "5 cases to learn from, 2 held out" in out
    assert "the folds have different sizes" in out  # 2 of 6 patients, expected a fifth
    written = tmp_path / "first" / "split.json"
    assert json.loads(written.read_text()) == {
        "train": ["blob0", "blob1", "blob3", "blob4"],
        "validation": ["blob2", "blob5"],
        "cases that cannot be used": ["blob0"],
    }
    assert command.main(["--output", str(tmp_path / "again"), *options, *sets, "--split", str(written)]) == 0
    assert "5 cases to learn from, 2 held out" in capfd.readouterr().out


def test_first_cases_are_trained_on_and_imagests_is_validated_on(options, data, tmp_path, capfd):
    ours, run = tmp_path / "data", tmp_path / "run"
    for part, seeds in (("Tr", (0, 1, 2)), ("Ts", (3, 4, 5))):
        for folder in ("images", "labels"):
            (ours / f"{folder}{part}").mkdir(parents=True)
            for seed in seeds:
                shutil.copy(data / f"{folder}Tr" / f"blob{seed}.mha", ours / f"{folder}{part}")
    trial = ["--data", f"images:{ours}", "--validate-on", "imagesTs", "--limit", "2", "--steps", "1"]
    assert command.main(["--output", str(run), *options, *trial]) == 0
    assert "2 cases to learn from, 2 held out (--limit 2)" in capfd.readouterr().out
    assert json.loads((run / "split.json").read_text()) == {
        "train": ["blob0", "blob1"],
        "validation": ["blob3", "blob4"],
    }
    assert command.main(["survey", "--data", f"images:{ours}", "--validate-on", "imagesTs", "--preparers", "1"]) == 0
    assert "6 of 6 patients" in capfd.readouterr().out
    training = read_config(run / "best.safetensors").training
    assert (training["data"][0]["cases"], training["held_out"], training["validation"]["cases"]) == (2, 2, 2)
    assert (training["options"]["limit"], training["options"]["validate_on"]) == (2, "imagesTs")
    assert command.main(["--output", str(run), *options, *trial, "--limit", "1", "--resume"]) == 1
    assert "cannot be resumed: --limit was 2 and is 1 now" in capfd.readouterr().err


def test_transplantation_without_a_lesion_for_it_is_refused(options, tmp_path, capfd):
    arguments = ["--output", str(tmp_path / "run"), *options, "--transplant", "0.5", "--largest-donor", "0.001"]
    assert command.main([*arguments, "--steps", "1"]) == 1
    assert "--transplant: none of 6 lesions in 6 cases can be a donor" in capfd.readouterr().err


def test_header_is_json_for_everybody(options, tmp_path):
    assert command.main(["--output", str(tmp_path / "run"), *options, "--steps", "1", "--fold", "2/5"]) == 0
    with safe_open(tmp_path / "run" / "last.safetensors", "pt") as file:
        texts = list(file.metadata().values())

    def refused(constant):
        raise AssertionError(constant)

    assert any('"largest_donor": null' in text for text in texts)
    assert not any("/tmp" in text or str(tmp_path) in text for text in texts)  # folders may name people and places
    assert any('"data": ["images:.../blobs' in text for text in texts)
    assert any("--fold 2/5" in text for text in texts)  # no folder
    for text in texts:
        json.loads(text, parse_constant=refused)
