"""CT as a second channel: its way to the PET's grid, into the networks, and through the program."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from places import ROOT
from played import PlayedEngine

from swfastedit_core import Geometry, UserError, Volume, load_networks, read_ct, read_volume, segment, write_volume
from swfastedit_core.challenge.interface import find_cts
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.resample import require_overlap, resample_ct
from swfastedit_core.volume import AIR_HU

MASKS = Path("images/automated-petct-lesion-segmentation")
CROPS = ROOT.parent / "shared" / "data" / "sts_crops"


def turned(degrees, axis):
    """Return the matrix of a turn about the patient axis L, P or S (0, 1, 2)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def points_mm(grid):
    """Return the patient coordinates (L, P, S) of every voxel by the definition of origin, spacing and direction."""
    z, y, x = np.indices(grid.shape_zyx)
    index = np.stack([x, y, z], axis=-1) * np.array(grid.spacing_mm)
    return index @ np.array(grid.direction).reshape(3, 3).T + np.array(grid.origin_mm)


def index_on(grid, points):
    """Return the fractional index (x, y, z) on a grid of points in the patient."""
    return (points - np.array(grid.origin_mm)) @ np.array(grid.direction).reshape(3, 3) / np.array(grid.spacing_mm)


def line(hu, **grid):
    """Make a CT of voxels along x."""
    return Volume(np.array(hu, np.float32).reshape(1, 1, -1), Geometry((len(hu), 1, 1), (1.0, 1.0, 1.0), **grid))


# --- to the PET's grid


@pytest.mark.parametrize(
    ("hu", "grid"),
    [
        ([0, 10, 20, 50], {}),
        (
            [50, 20, 10, 0],
            {"origin_mm": (3.0, 0.0, 0.0), "direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)},
        ),  # runs to the right
    ],
)
def test_hu_are_linear_between_centres_go_on_to_the_outer_face_and_are_air_beyond(hu, grid):
    pet = Geometry((6, 1, 1), (1.0, 1.0, 1.0), (-0.75, 0.0, 0.0))  # centres at -0.75, 0.25, … 4.25 mm
    found = resample_ct(line(hu, **grid), pet)
    assert found.geometry == pet
    assert found.array_zyx.dtype == np.float32
    assert found.array_zyx.ravel().tolist() == [AIR_HU, 2.5, 12.5, 27.5, 50.0, AIR_HU]


def test_hu_on_a_turned_flipped_finer_grid_come_out_where_they_are_in_the_patient():
    axes = turned(25, 0) @ turned(-40, 2) @ np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # axes swapped and turned
    axes[:, 1] *= -1  # left-handed
    assert np.linalg.det(axes) == pytest.approx(-1)
    ct_grid = Geometry((50, 44, 60), (1.0, 1.3, 0.9), (12.0, -30.0, 5.0), tuple(axes.ravel()))
    middle = points_mm(ct_grid)[30, 22, 25]
    pet_axes = turned(10, 1) @ np.diag([-1.0, 1.0, 1.0])
    pet = Geometry((20, 18, 16), (4.0, 4.5, 5.0), (0.0, 0.0, 0.0), tuple(pet_axes.ravel()))
    pet = replace(pet, origin_mm=tuple(middle - points_mm(pet)[8, 9, 10]))  # the CT lies in the middle of the PET

    def hu_at(points):
        return 100.0 + points @ np.array([2.0, -3.0, 0.5])

    found = resample_ct(Volume(hu_at(points_mm(ct_grid)).astype(np.float32), ct_grid), pet).array_zyx
    points, last = points_mm(pet), np.array(ct_grid.size_xyz) - 1
    index = index_on(ct_grid, points)
    inside = ((index >= 0) & (index <= last)).all(axis=-1)
    outside = ((index < -0.501) | (index > last + 0.501)).any(axis=-1)
    assert inside.sum() > 500
    assert outside.sum() > 500
    np.testing.assert_allclose(found[inside], hu_at(points[inside]), atol=2e-3)
    assert (found[outside] == AIR_HU).all()


def test_ct_on_the_pets_grid_is_not_copied():
    ct = line([-1000, 0, 40])
    assert resample_ct(ct, ct.geometry) is ct
    rounded = replace(ct.geometry, origin_mm=(0.004, 0.0, -0.004))
    same = resample_ct(ct, rounded)
    assert same.array_zyx is ct.array_zyx
    assert same.geometry == rounded
    moved = resample_ct(ct, replace(ct.geometry, origin_mm=(0.02, 0.0, 0.0)))
    assert moved.array_zyx.ravel().tolist() == pytest.approx([-980.0, 0.8, 40.0], abs=1e-3)
    longer = resample_ct(ct, Geometry((4, 1, 1), (1.0, 1.0, 1.0)))
    assert longer.array_zyx.ravel().tolist() == [-1000, 0, 40, AIR_HU]


def test_ct_beside_the_pet_is_refused():
    ct = line([-1000, 0, 40])  # reaches from -0.5 to 2.5 mm
    pet = Geometry((2, 1, 1), (1.0, 1.0, 1.0), (2.4, 0.0, 0.0))
    assert resample_ct(ct, pet).array_zyx.ravel().tolist() == [40, AIR_HU]
    beside = replace(pet, origin_mm=(2.6, 0.0, 0.0))
    with pytest.raises(UserError) as caught:
        resample_ct(ct, beside)
    assert str(caught.value) == (
        "the CT: lies from (0, 0, 0) to (2, 0, 0) mm and the PET from (3, 0, 0) to (4, 0, 0) mm, without overlap, "
        "expected two images of one patient in the same coordinates"
    )
    for origin in ((-1.6, 0.0, 0.0), (0.0, 0.6, 0.0), (0.0, -0.6, 0.0), (0.0, 0.0, 9.0)):
        with pytest.raises(UserError, match=r"^x\.mha: lies"):
            require_overlap(ct.geometry, replace(pet, origin_mm=origin), source="x.mha")
    mirrored = Geometry((3, 1, 1), (1.0, 1.0, 1.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))  # from 0.5 to -2.5 mm
    with pytest.raises(UserError, match="without overlap"):
        require_overlap(mirrored, replace(pet, origin_mm=(0.6, 0.0, 0.0)))
    require_overlap(mirrored, replace(pet, origin_mm=(-2.0, 0.0, 0.0)))


# --- into the networks

GRID = Geometry((12, 10, 8), (4.0, 4.0, 4.0), (1.0, 2.0, 3.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
# The same centres: x of this grid is y of the PET's, y runs against its x.
CT_GRID = Geometry((10, 12, 8), (4.0, 4.0, 4.0), (1.0, -42.0, 3.0))
SUV_0_TO_1 = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 1.0))


class Adds(PlayedEngine):
    """A network whose logit is the sum of its channels and a constant; it remembers what it saw."""

    def __init__(self, *channels, offset, preprocessing=SUV_0_TO_1):
        self.offset, self.source, self.seen = offset, "adds.safetensors", []
        self.config = SimpleNamespace(window=(8, 8, 8), channels=Channels.named(channels), preprocessing=preprocessing)

    def __call__(self, windows):
        self.seen.append(windows)
        return windows.sum(dim=1) + self.offset


def warm(value=0.9):
    """Make a PET with a warm block, x 7 and 8, y 3 to 5, z 2 to 4."""
    array = np.zeros(GRID.shape_zyx, np.float32)
    array[2:5, 3:6, 7:9] = value
    return Volume(array, GRID)


def dense(hu, *, background=-1000.0):
    """Make a CT on a grid of its own, dense at x 8 and 9, y 4 and 5, z 0 to 3 of the PET's grid."""
    array = np.full(CT_GRID.shape_zyx, background, np.float32)
    array[0:4, 11 - 9 : 11 - 7, 4:6] = hu
    return Volume(array, CT_GRID)


BOTH = np.zeros(GRID.shape_zyx, np.uint8)
BOTH[2:4, 4:6, 8] = 1  # warm and dense


def test_network_sees_both_channels_at_the_same_place():
    # warm and dense 0.9 + 0.5, warm only 0.9, dense only 0.5
    network = Adds("pet", "ct", offset=-1.2)
    found = segment(warm(), [network], ct=dense(0.0), full_grid=True)
    np.testing.assert_array_equal(found.mask.array_zyx, BOTH)
    assert found.mask.geometry == GRID
    assert {tuple(windows.shape) for windows in network.seen} == {(1, 2, 8, 8, 8)}
    on_its_grid = resample_ct(dense(0.0), GRID)
    same = segment(warm(), [Adds("pet", "ct", offset=-1.2)], ct=on_its_grid, full_grid=True)
    np.testing.assert_array_equal(same.mask.array_zyx, BOTH)


def test_hu_become_what_the_checkpoint_says():
    # -60 of -160 to 240 is 0.25, of -1000 to 1000 it is 0.47: more than 0.2 as well, but less than 0.3
    narrow = replace(SUV_0_TO_1, ct_hu=(-160.0, 240.0))
    for preprocessing, offset, lesions in ((narrow, -1.1, 4), (narrow, -1.2, 0), (SUV_0_TO_1, -1.2, 4)):
        network = Adds("pet", "ct", offset=offset, preprocessing=preprocessing)
        assert segment(warm(), [network], ct=dense(-60.0), full_grid=True).lesion_voxels == lesions


def test_body_and_windows_come_from_the_pet():
    grid = Geometry((60, 60, 40), (4.0, 4.0, 4.0))
    pet = np.zeros(grid.shape_zyx, np.float32)
    pet[:, 4:16, 4:16] = 1.0
    everywhere = Volume(np.zeros(grid.shape_zyx, np.float32), grid)  # water to the edge of the field
    alone = segment(Volume(pet, grid), [Adds("pet", offset=0.1)])
    both = segment(Volume(pet, grid), [Adds("pet", "ct", offset=0.1)], ct=everywhere)
    assert alone.windows < 0.3 * alone.windows_full_grid
    assert both.windows == alone.windows


def test_around_the_image_both_channels_are_air():
    grid = Geometry((4, 4, 4), (4.0, 4.0, 4.0))
    pet, ct = (Volume(np.full(grid.shape_zyx, value, np.float32), grid) for value in (1.0, 1000.0))
    network = Adds("pet", "ct", offset=0.0)
    segment(pet, [network], ct=ct, full_grid=True)
    (window,) = network.seen
    expected = torch.zeros(1, 2, 8, 8, 8)
    expected[:, :, 2:6, 2:6, 2:6] = 1.0
    assert torch.equal(window, expected)


def test_outside_the_cts_field_is_air():
    low = Volume(np.zeros((4, 12, 10), np.float32), replace(CT_GRID, size_xyz=(10, 12, 4)))  # ends at z 3
    network = Adds("pet", "ct", offset=-1.2)
    found = segment(warm(), [network], ct=low, full_grid=True).mask.array_zyx
    expected = np.zeros(GRID.shape_zyx, np.uint8)
    expected[2:4, 3:6, 7:9] = 1
    np.testing.assert_array_equal(found, expected)


def test_networks_of_one_and_of_two_channels_are_an_ensemble():
    # warm: 0.3 alone; warm and dense: 0.3 alone and 0.2 with CT; dense: -0.6 and -0.7
    alone, with_ct = Adds("pet", offset=-0.6), Adds("pet", "ct", offset=-1.2)
    vote = segment(warm(), [alone, with_ct], ct=dense(0.0), full_grid=True, vote=True)
    np.testing.assert_array_equal(vote.mask.array_zyx, BOTH)
    assert {windows.shape[1] for windows in alone.seen} == {1}
    assert {windows.shape[1] for windows in with_ct.seen} == {2}
    assert torch.equal(torch.cat(alone.seen)[:, 0], torch.cat(with_ct.seen)[:, 0])
    # warm only: sigmoid 0.574 and 0.426 with offset -1.2, and the mean of 0.5 is no lesion; 0.450 with -1.1 is one
    for offset, lesions in ((-1.21, 4), (-1.1, 18)):
        networks = [Adds("pet", "ct", offset=offset), Adds("pet", offset=-0.6)]
        assert segment(warm(), networks, ct=dense(0.0), full_grid=True).lesion_voxels == lesions


def test_preprocessings_with_and_without_ct_do_not_mix():
    coarse = replace(SUV_0_TO_1, spacing_mm=(8.0, 8.0, 8.0))
    alone, with_ct = Adds("pet", offset=-0.6, preprocessing=coarse), Adds("pet", "ct", offset=-1.2)
    segment(warm(), [alone, with_ct], ct=dense(0.0), full_grid=True)
    assert (alone.seen[0].shape[1], with_ct.seen[0].shape[1]) == (1, 2)


def test_network_that_needs_a_ct_is_not_run_without():
    network = Adds("pet", "ct", offset=0.0)
    with pytest.raises(UserError, match=r"^adds\.safetensors: the network takes PET and CT, and no CT was given"):
        segment(warm(), [Adds("pet", offset=0.0), network])
    assert network.seen == []


def test_ct_that_no_network_wants_is_not_looked_at():
    elsewhere = line([0.0, 0.0], origin_mm=(9e5, 0.0, 0.0))
    found = segment(warm(), [Adds("pet", offset=-0.5)], ct=elsewhere, full_grid=True)
    assert found.lesion_voxels == 18
    with pytest.raises(UserError, match="without overlap"):
        segment(warm(), [Adds("pet", "ct", offset=-0.5)], ct=elsewhere, full_grid=True)


@pytest.mark.parametrize("on_its_own_grid", [True, False])
def test_voxels_that_nobody_else_holds_are_gone_while_networks_run(on_its_own_grid):
    held, alive = [], []

    def handed_over(volume):
        held.append(weakref.ref(volume.array_zyx))
        return volume

    class Looks(Adds):
        def __call__(self, windows):
            alive.append([voxels() is not None for voxels in held])
            return super().__call__(windows)

    def ct():
        return dense(0.0) if on_its_own_grid else resample_ct(dense(0.0), GRID)

    found = segment(handed_over(warm()), [Looks("pet", "ct", offset=-1.2)], ct=handed_over(ct()), full_grid=True)
    assert found.lesion_voxels == 4
    assert alive == [[False, False]] * found.windows
    kept = handed_over(warm())
    segment(kept, [Looks("pet", offset=-0.5)], full_grid=True)
    assert alive[-1] == [False, False, True]


# --- through the program

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


def case(folder, *, pets=("p.mha",), cts=("c.mha",), named=None):
    """Fill an input folder; the CT of number i is `random_ct(i)`. `named`: the CT in the inventory."""
    for place, names, make in (("pet", pets, random_pet), ("ct", cts, random_ct)):
        for number, name in enumerate(names):
            write_volume(make(0 if place == "pet" else number), folder / "images" / place / name)
    if named:
        socket = {"slug": "ct", "relative_path": "images/ct"}
        (folder / "inputs.json").write_text(json.dumps([{"socket": socket, "image": {"pk": named, "name": named}}]))
    return folder


def masks(done, *names):
    """Return the masks that a run wrote, and its reports."""
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
    assert [Path(report["output"]).name for report in told] == list(names)
    return [read_volume(report["output"]).array_zyx for report in told], told


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
    assert report["warnings"] == []
    ensemble = run(*files, "--weights", weights)  # one that sees CT, one that does not
    (_,), (report,) = masks(ensemble, "p.nii.gz")
    assert (len(report["weights"]), report["ct"]) == (2, str(tmp_path / "c.nrrd"))


def test_ct_that_no_network_wants_is_told_of(tmp_path, weights, run):
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


@pytest.mark.parametrize(
    ("pets", "cts", "named", "found"),
    [
        (["p.mha"], ["c.mha"], None, ["c.mha"]),
        (["p.mha"], ["c.mha", "d.mha"], "d", ["d.mha"]),
        (["p.mha"], ["c.mha", "d.mha"], "d.mha", ["d.mha"]),
        (["p.mha"], ["c.mha", "p.mha"], None, ["p.mha"]),
        (["p.mha"], ["c.mha", "p.mha"], "c", ["c.mha"]),
        (["a.mha", "b.mha"], ["a.mha", "b.mha", "c.mha"], None, ["a.mha", "b.mha"]),
        (["p.mha"], ["c.mha", "d.mha"], "elsewhere", "found c.mha, d.mha for 1 PET, expected one file for one PET, "),
        (
            ["a.mha", "b.mha"],
            ["a.mha"],
            None,
            "found a.mha for 2 PET, expected one file for one PET, or one named b.mha",
        ),
        (
            ["p.mha"],
            [],
            None,
            "no such folder, expected the CT, which the network takes as well, there as one .mha file",
        ),
        (["p.mha"], ["c.nii.gz"], None, "found c.nii.gz, expected one .mha file"),
    ],
)
def test_ct_is_found_by_the_inventory_by_its_name_or_as_the_only_one(pets, cts, named, found, tmp_path):
    folder = case(tmp_path, pets=pets, cts=cts, named=named)
    files = [folder / "images/pet" / name for name in pets]
    if isinstance(found, list):
        assert [path.relative_to(folder / "images/ct").name for path in find_cts(folder, files)] == found
        return
    with pytest.raises(UserError) as caught:
        find_cts(folder, files)
    assert str(caught.value).startswith(f"{folder / 'images/ct'}: {found}")


def test_missing_ct_is_an_error_before_the_work(tmp_path, weights, run):
    folder, both = case(tmp_path / "in", cts=()), weights / "both.safetensors"
    pet = folder / "images/pet/p.mha"
    expected = "no such folder, expected the CT, which the network takes as well, there as one .mha file"
    assert_failed(
        run("--input", folder, "--output", tmp_path / "out", "--weights", both), f"{folder / 'images/ct'}: {expected}"
    )
    assert_failed(
        run("--pet", pet, "--output", tmp_path / "out", "--weights", both),
        f"{pet}: {both} takes its CT as well; name the CT with --ct FILE",
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


def test_ct_needs_its_pet_and_is_not_replaced_by_the_mask(tmp_path, run):
    write_volume(random_ct(), tmp_path / "ct/p.mha")
    write_volume(random_pet(), tmp_path / "p.mha")
    done = run("--ct", tmp_path / "ct/p.mha", "--output", tmp_path)
    assert done.stderr.startswith("--ct is of one scan: it needs --pet FILE; in a folder the CT lies in images/ct")
    done = run("--pet", tmp_path / "p.mha", "--ct", tmp_path / "ct/p.mha", "--output", tmp_path / "ct")
    assert_failed(done, f"{tmp_path / 'ct/p.mha'}: the mask would replace the scan; choose another --output")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct/p.mha").array_zyx, random_ct().array_zyx)


# --- real pairs: a CT and a PET of one patient, each on its own grid

TISSUE_HU, TISSUE_SUV = -500.0, 0.15


def outlines(pet, ct, *, moved_mm=(0.0, 0.0, 0.0), mirrored=None):
    """Return the body in the CT and in the PET, where the CT's field is, after something was done to the CT."""
    grid = replace(ct.geometry, origin_mm=tuple(np.add(ct.geometry.origin_mm, moved_mm)))
    hu = resample_ct(Volume(ct.array_zyx, grid), pet.geometry).array_zyx
    hu = hu if mirrored is None else np.flip(hu, mirrored)
    field = hu > AIR_HU
    return hu[field] > TISSUE_HU, pet.array_zyx[field] > TISSUE_SUV


@pytest.mark.real
@pytest.mark.skipif(not CROPS.is_dir(), reason="the real crops do not lie beside the repository")
def test_real_ct_and_pet_show_the_body_at_the_same_place():
    pairs = [(read_volume(CROPS / "imagesTr" / ct.name), read_ct(ct)) for ct in sorted((CROPS / "ct").iterdir())]
    assert len(pairs) == 7

    def agreement(**change):
        """Return the Dice of the two outlines of each pair."""
        return np.array([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in (outlines(*p, **change) for p in pairs)])

    there = agreement()
    assert there.min() > 0.83
    assert there.mean() > 0.92
    for axis in range(3):  # measured: 0.81, 0.56, 0.65
        assert agreement(mirrored=axis).mean() < 0.82
    for axis, tolerance_mm in ((0, 2.0), (1, 2.0), (2, 8.0)):  # limbs change little from slice to slice
        before, behind = (agreement(moved_mm=shift * np.eye(3)[axis]).mean() for shift in (-20.0, 20.0))
        assert max(before, behind) < there.mean() - (0.07 if axis < 2 else 0.005)
        # A parabola through the three has its top where both agree best: measured 0.7, 0.9 and -6 mm.
        best_mm = 10.0 * (before - behind) / (before - 2 * there.mean() + behind)
        assert abs(best_mm) < tolerance_mm
