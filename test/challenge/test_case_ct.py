"""CT through the program: files, the platform's folders, a mask worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from swfastedit_core import Geometry, Volume, load_networks, read_ct, read_label, segment, write_volume
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

CONFIG = CheckpointConfig(
    NetworkConfig("smalldynunet", (2, 3, 4), in_channels=2),
    Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 5.0), ct_hu=(-500.0, 500.0)),
    window=(16, 16, 8),
    channels=Channels.PET_CT,
)
ONE_WINDOW = Geometry((16, 16, 8), (4.0, 4.0, 4.0), (-30.0, 10.0, 100.0))  # L and P: against the network's R and A
FINE = Geometry((33, 33, 17), (2.0, 2.0, 2.0), (-31.0, 9.0, 99.0))  # of the CT: half a voxel further on each side


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write a random network of two channels, and one of one channel."""
    folder = tmp_path_factory.mktemp("weights")
    alone = replace(CONFIG, network=NetworkConfig("smalldynunet", (2, 3, 4)), channels=Channels.PET)
    for name, config in (("both", CONFIG), ("alone", alone)):
        torch.manual_seed(5)
        checkpoint = Checkpoint(folder, config, build_network(config.network).state_dict())
        write_checkpoint(checkpoint, folder / f"{name}.safetensors")
    return folder


def random_pet(seed=0):
    return Volume(np.random.default_rng(seed).uniform(0.0, 6.0, ONE_WINDOW.shape_zyx).astype(np.float32), ONE_WINDOW)


def random_ct(seed=0):
    return Volume(np.random.default_rng(seed).integers(-1000, 1500, FINE.shape_zyx).astype(np.float32), FINE)


def mask_by_hand(pet, ct):
    """Do all that the program does for one window, step by step; the network is the one of `weights`."""
    # A voxel centre of the PET lies amid eight of the finer CT's.
    hu = ct.array_zyx.astype(np.float64)
    for axis in range(3):
        low, high = (np.take(hu, range(start, hu.shape[axis] - 1 + start), axis) for start in (0, 1))
        hu = np.take((low + high) / 2, range(0, low.shape[axis], 2), axis)
    assert hu.shape == pet.array_zyx.shape
    channels = [np.clip(pet.array_zyx / 5.0, 0, 1), np.clip((hu + 500.0) / 1000.0, 0, 1)]
    image = torch.from_numpy(np.stack([channel.transpose(2, 1, 0)[::-1, ::-1] for channel in channels])).float()
    torch.manual_seed(5)
    network = build_network(CONFIG.network).eval()
    with torch.inference_mode():
        background, tumour = network(image[None])[0]
    return (tumour > background).numpy()[::-1, ::-1].transpose(2, 1, 0).astype(np.uint8)


EXPECTED = mask_by_hand(random_pet(), random_ct())


def test_segment_gives_the_mask_worked_out_by_hand(weights):
    assert 100 < EXPECTED.sum() < EXPECTED.size - 100
    for seed in (0, 1):  # another CT, another mask
        networks = load_networks(weights / "both.safetensors", device="cpu", precision="float32")
        found = segment(random_pet(), networks, ct=random_ct(seed)).mask.array_zyx
        np.testing.assert_array_equal(found, mask_by_hand(random_pet(), random_ct(seed)))
        assert (np.count_nonzero(found != EXPECTED) > 100) == (seed == 1)


@pytest.fixture
def run(run):
    """Return a function that runs `process.py` here, as exactly as it can."""
    return partial(run, "--precision", "float32", "--device", "cpu")


def case(folder, *, pets=("p.mha",), cts=("c.mha",)):
    """Fill an input folder; the CT of number i is `random_ct(i)`."""
    for place, names, make in (("pet", pets, random_pet), ("ct", cts, random_ct)):
        for number, name in enumerate(names):
            write_volume(make(0 if place == "pet" else number), folder / "images" / place / name)
    return folder


def masks(done, *names):
    """Return the masks that a run wrote, and its reports."""
    assert (done.returncode, done.stderr) == (0, "")
    reported = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
    assert [Path(report["output"]).name for report in reported] == list(names)
    return [read_label(report["output"]).array_zyx for report in reported], reported


def assert_failed(done, message):
    assert (done.returncode, done.stderr) == (1, f"{message}\n")
    assert "{" not in done.stdout


def test_single_files(tmp_path, weights, run):
    write_volume(random_pet(), tmp_path / "p.nii.gz")
    write_volume(random_ct(), tmp_path / "c.nrrd")
    files = ("--pet", tmp_path / "p.nii.gz", "--ct", tmp_path / "c.nrrd", "--output", tmp_path / "out")
    (found,), (report,) = masks(run(*files, "--weights", weights / "both.safetensors"), "p.nii.gz")
    np.testing.assert_array_equal(found, EXPECTED)
    assert report["ct"] == str(tmp_path / "c.nrrd")
    warning, about_ct = report["warnings"]  # both are small
    assert about_ct.startswith(f"{tmp_path / 'c.nrrd'}: the scan measures")
    assert warning.startswith(f"{tmp_path / 'p.nii.gz'}: the scan measures 6.4 × 6.4 × 3.2 cm by its header, hardly")
    ensemble = run(*files, "--weights", weights)  # one that sees CT, one that does not
    (_,), (report,) = masks(ensemble, "p.nii.gz")
    assert (len(report["weights"]), report["ct"]) == (2, str(tmp_path / "c.nrrd"))


def test_ct_that_no_network_takes_is_reported(tmp_path, weights, run):
    write_volume(random_pet(), tmp_path / "p.mha")
    write_volume(random_ct(), tmp_path / "c.mha")
    options = ("--pet", tmp_path / "p.mha", "--output", tmp_path / "out", "--weights", weights / "alone.safetensors")
    (without,), _ = masks(run(*options), "p.mha")
    done = run(*options, "--ct", tmp_path / "c.mha")
    (found,), (report,) = masks(done, "p.mha")
    np.testing.assert_array_equal(found, without)
    assert f"notice: {tmp_path / 'c.mha'}: not used, the networks take PET only\n" in done.stdout
    assert "ct" not in report


def test_ct_of_the_platforms_folder(tmp_path, weights, run):
    folder = case(tmp_path / "in")
    options = ("--input", folder, "--output", tmp_path / "out", "--weights", weights / "both.safetensors")
    (found,), (report,) = masks(run(*options), "p.mha")
    np.testing.assert_array_equal(found, EXPECTED)
    assert report["ct"] == str(folder / "images/ct/c.mha")
    alone = run(*options[:4], "--weights", weights / "alone.safetensors")
    _, (report,) = masks(alone, "p.mha")
    assert "ct" not in report
    assert "notice" not in alone.stdout  # the platform puts it there, whoever takes it
    (folder / "images/ct/c.mha").write_bytes(b"")
    masks(run(*options[:4], "--weights", weights / "alone.safetensors"), "p.mha")


def test_every_pet_of_a_folder_gets_the_ct_of_its_name(tmp_path, weights, run):
    folder = case(tmp_path / "in", pets=("a.mha", "b.mha"), cts=("b.mha", "a.mha"))  # a's CT is number 1
    done = run("--input", folder, "--output", tmp_path / "out", "--weights", weights / "both.safetensors")
    (a, b), _ = masks(done, "a.mha", "b.mha")
    np.testing.assert_array_equal(a, mask_by_hand(random_pet(), random_ct(1)))
    np.testing.assert_array_equal(b, EXPECTED)


def test_missing_ct_is_an_error_before_the_work(tmp_path, weights, run):
    folder, both = case(tmp_path / "in", cts=()), weights / "both.safetensors"
    pet = folder / "images/pet/p.mha"
    expected = "no such folder, expected the CT, which the network takes as well, there as one .mha file"
    assert_failed(
        run("--input", folder, "--output", tmp_path / "out", "--weights", both), f"{folder / 'images/ct'}: {expected}"
    )
    assert_failed(
        run("--pet", pet, "--output", tmp_path / "out", "--weights", both),
        f"{pet}: {both} takes PET and CT; name the CT with --ct FILE",
    )
    assert not (tmp_path / "out").exists()


def test_unusable_ct_is_refused_before_any_mask_is_made(tmp_path, weights, run):
    folder, both = case(tmp_path / "in", pets=("a.mha", "b.mha"), cts=("a.mha", "b.mha")), weights / "both.safetensors"
    ct = folder / "images/ct/b.mha"
    options = ("--input", folder, "--output", tmp_path / "out", "--weights", both)
    far = replace(FINE, origin_mm=(-31.0, 9.0, 900.0))
    write_volume(Volume(random_ct().array_zyx, far), ct)
    done = run(*options)
    assert done.stderr.startswith(f"{ct}: lies from (-31, 9, 900) to (33, 73, 932) mm and the PET from (-30, 10, 100)")
    ct.write_bytes(b"")
    assert_failed(run(*options), f"{ct}: the file is empty")
    single = (
        "--pet",
        folder / "images/pet/a.mha",
        "--output",
        tmp_path / "out",
        "--weights",
        tmp_path / "not looked at",
    )
    assert_failed(run(*single, "--ct", ct), f"{ct}: the file is empty")
    assert_failed(run(*single, "--ct", tmp_path / "none.mha"), f"{tmp_path / 'none.mha'}: no such file")
    assert not (tmp_path / "out").exists()


def test_weights_that_take_a_ct_are_refused_for_several_scans(tmp_path, weights, run):
    for name in ("1.mha", "2.mha"):
        write_volume(random_pet(), tmp_path / "in" / name)
    done = run(tmp_path / "in", "--weights", weights / "both.safetensors", "--output", tmp_path / "out")
    reason = "takes PET and CT, and 2 scans are named; call the program for each scan, with its CT as --ct FILE"
    assert_failed(done, f"{weights / 'both.safetensors'} {reason}")
    assert not (tmp_path / "out").exists()


def test_ct_needs_its_pet_and_is_not_replaced_by_the_mask(tmp_path, run):
    write_volume(random_ct(), tmp_path / "ct/p.mha")
    write_volume(random_pet(), tmp_path / "p.mha")
    done = run("--ct", tmp_path / "ct/p.mha", "--output", tmp_path)
    assert done.stderr.startswith(
        "--ct names the CT of one scan, and no scan is named; with --input the CT lies in images/ct"
    )
    done = run("--pet", tmp_path / "p.mha", "--ct", tmp_path / "ct/p.mha", "--output", tmp_path / "ct")
    assert_failed(done, f"{tmp_path / 'ct/p.mha'}: the mask would replace the scan; choose another --output")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct/p.mha").array_zyx, random_ct().array_zyx)
