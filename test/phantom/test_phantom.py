"""Phantoms: what was put in is what comes out, on any grid, with the same bytes every time."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from places import ROOT
from scipy import ndimage

from swfastedit_core.files.read import read_volume
from swfastedit_core.phantom import Patient, Scanner, field_of_view, make_phantom, sample_patient
from swfastedit_core.phantom.__main__ import main
from swfastedit_core.phantom.lesion_shapes import recovery
from swfastedit_core.phantom.lesions import sample_lesion_count
from swfastedit_core.phantom.scanner import activity_map, add_noise, blur, rasterize
from swfastedit_core.phantom.shapes import Ellipsoid, Shape, rotation
from swfastedit_core.volume import Geometry

QUIET = Scanner(fwhm_mm=5.0, noise=0.0)


def start_cli(*arguments: str, threads: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "swfastedit_core.phantom", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@cache
def healthy_patient(seed: int) -> Patient:
    return sample_patient(seed, lesions=0)


def suv_at(seed: int, place: tuple[float, float, float]) -> float:
    """Mean SUV of 12 mm around a point of the reference body, without lesions and noise."""
    patient = healthy_patient(seed)
    x, y, z = patient.habitus.to_patient(*place)
    grid = Geometry((17, 17, 17), (4.0, 4.0, 4.0), (x - 32, y - 32, z - 32))
    pet = blur(activity_map(patient.healthy, grid), fwhm_mm=5.0, spacing_mm=grid.spacing_mm)
    return float(pet[7:10, 7:10, 7:10].mean())


def test_two_processes_with_different_threads_write_the_same_bytes(tmp_path: Path) -> None:
    options = ("--cases", "2", "--seed", "3", "--spacing", "7", "7", "7", "--output")
    running = [start_cli(*options, str(tmp_path / name), threads=n) for name, n in (("one", 1), ("two", 2))]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    first, second = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert first == second
    assert sorted(first) == [
        f"{folder}/phantom_3_000{case}.nii.gz" for folder in ("imagesTr", "labelsTr") for case in (0, 1)
    ]
    assert len(set(first.values())) == 4


@pytest.mark.parametrize(
    ("place", "low", "high"),
    [
        ((-74, -2, -515), 1.5, 3.3),  # liver
        ((-74, 0, -375), 0.2, 0.8),  # right lung
        ((0, -20, -832), 4.5, 62.0),  # bladder
        ((45, 2, -50), 3.0, 16.0),  # brain
        ((84, 8, -1040), 0.3, 1.2),  # thigh
        ((400, 0, -600), 0.0, 1e-6),  # air
    ],
)
def test_organs_have_their_uptake(place: tuple[float, float, float], low: float, high: float) -> None:
    values = [suv_at(seed, place) for seed in range(4)]
    assert low <= min(values)
    assert max(values) <= high


def test_healthy_body_does_not_depend_on_the_lesions() -> None:
    assert sample_patient(1, lesions=0).healthy == sample_patient(1, lesions=6).healthy
    assert sample_patient(1).habitus != sample_patient(2).habitus


def test_label_has_the_volume_of_the_lesions() -> None:
    for seed in (0, 1):
        grid = grid_around([lesion.shape for lesion in sample_patient(seed, lesions=8).lesions], spacing_mm=3.0)
        phantom = make_phantom(seed, geometry=grid, lesions=8)
        assert len(phantom.lesions) == 8
        labelled_ml = float(phantom.label.array_zyx.sum()) * phantom.label.geometry.voxel_ml
        assert labelled_ml == pytest.approx(sum(lesion.volume_ml for lesion in phantom.lesions), rel=0.05)


def grid_around(shapes: Sequence[Shape], *, spacing_mm: float, margin_mm: float = 6.0) -> Geometry:
    """Return the smallest grid of cubic voxels that holds solids with a margin."""
    low = np.min([shape.bounds.low_mm for shape in shapes], axis=0) - margin_mm
    high = np.max([shape.bounds.high_mm for shape in shapes], axis=0) + margin_mm
    x, y, z = (np.ceil((high - low) / spacing_mm).astype(int) + 1).tolist()
    return Geometry((x, y, z), (spacing_mm,) * 3, tuple(low.tolist()))


def test_thirty_lesions_lie_apart_and_each_owns_voxels_of_a_coarse_grid() -> None:
    phantom = make_phantom(11, geometry=field_of_view(11, spacing_mm=(8, 8, 8)), lesions=30)
    assert len(phantom.lesions) == 30
    masks = [rasterize(lesion.shape, phantom.label.geometry) for lesion in phantom.lesions]
    assert all(mask is not None and mask[1].any() for mask in masks)
    assert int(phantom.label.array_zyx.sum()) == sum(int(mask[1].sum()) for mask in masks if mask)
    assert min(lesion.volume_ml for lesion in phantom.lesions) >= 0.3


def lesions_in_voxels(seeds: range, at_least: int) -> list[tuple[np.ndarray, float]]:
    """Masks of lesions in 4 mm voxels, and the highest healthy SUV in the layer of voxels around each."""
    masks_and_suv = []
    for seed in seeds:
        patient = sample_patient(seed)
        for lesion in patient.lesions:
            grid = grid_around([lesion.shape], spacing_mm=4.0, margin_mm=32.0)
            block, mask = rasterize(lesion.shape, grid) or pytest.fail("outside")
            if mask.sum() >= at_least:
                healthy = blur(activity_map(patient.healthy, grid), fwhm_mm=5.0, spacing_mm=grid.spacing_mm)
                whole = np.zeros(grid.shape_zyx, bool)
                whole[block] = mask
                shell = ndimage.binary_dilation(whole) & ~whole
                masks_and_suv.append((whole, float(healthy[shell].max())))
    return masks_and_suv


def likeness_to_an_ellipsoid(mask: np.ndarray) -> float:
    """Dice of a mask with the solid ellipsoid of the same second moments (|x|² ≤ 5 in units of their roots)."""
    places = np.argwhere(mask).astype(float)
    centre, spread = places.mean(axis=0), np.cov(places.T) + np.eye(3) / 12
    offset = np.stack(np.indices(mask.shape), axis=-1) - centre
    ellipsoid = np.einsum("...i,ij,...j->...", offset, np.linalg.inv(spread), offset) <= 5
    return float(2 * (mask & ellipsoid).sum() / (mask.sum() + ellipsoid.sum()))


def test_lesions_are_of_many_shapes_and_some_touch_physiological_uptake() -> None:
    z, y, x = np.indices((40, 40, 40)) - 20
    ball = (x / 15) ** 2 + (y / 9) ** 2 + (z / 12) ** 2 <= 1
    assert likeness_to_an_ellipsoid(ball) > 0.98
    lesions = lesions_in_voxels(range(6), at_least=50)
    likeness = sorted(likeness_to_an_ellipsoid(mask) for mask, _ in lesions)
    assert len(likeness) > 10
    assert likeness[1] < 0.85
    assert likeness[-2] > 0.9
    assert any(around > 4.0 for _, around in lesions)
    assert any(around < 1.5 for _, around in lesions)


@pytest.mark.parametrize(("seed", "up"), [(3, True), (2, False)])
def test_arms_are_beside_the_head_or_beside_the_trunk(seed: int, up: bool) -> None:
    patient = sample_patient(seed)
    assert patient.habitus.arms_up == up
    grid = Geometry((140, 60, 120), (6.0, 6.0, 6.0), (-417.0, -177.0, -600.0))
    suv = make_phantom(seed, geometry=grid, lesions=0, scanner=QUIET).pet.array_zyx
    x_mm = np.abs(-417.0 + 6.0 * np.arange(140))
    beside_the_head = suv[100:, :, x_mm > 150]  # from the vertex upwards, where only hands can be
    assert (beside_the_head > 0.2).any() == up


def test_no_lesions_no_label_however_hot_the_bladder() -> None:
    phantom = make_phantom(5, geometry=field_of_view(5, spacing_mm=(8, 8, 8)), lesions=0)
    assert phantom.lesions == ()
    assert int(phantom.label.array_zyx.max()) == 0
    assert float(phantom.pet.array_zyx.max()) > 4


def test_lesions_stand_out_from_their_surroundings() -> None:
    phantom = make_phantom(2, geometry=field_of_view(2, spacing_mm=(4, 4, 4)), lesions=12, scanner=QUIET)
    labelled = phantom.label.array_zyx.astype(bool)
    for lesion in phantom.lesions:
        assert lesion.suv > 1.5 * lesion.suv_around
        block, mask = rasterize(lesion.shape, phantom.label.geometry) or pytest.fail("outside")
        wide = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in block)
        own = np.zeros(labelled.shape, bool)
        own[block] = mask
        ring = ndimage.binary_dilation(own[wide], iterations=4) & ~ndimage.binary_dilation(labelled[wide])
        assert phantom.pet.array_zyx[own].max() > 1.4 * np.median(phantom.pet.array_zyx[wide][ring])


def test_one_patient_in_five_is_free_of_lesions_and_none_has_more_than_thirty() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    counts = np.array([sample_lesion_count(rng) for _ in range(4000)])
    assert 0.20 < np.mean(counts == 0) < 0.24
    assert counts.max() == 30
    assert np.median(counts[counts > 0]) == 3


def test_left_handed_grid_holds_the_same_voxels() -> None:
    straight = Geometry((60, 40, 50), (5.0, 6.0, 4.0), (-150.0, -120.0, -700.0))
    # Array axes: x runs along S, y along L, z against P. Determinant -1.
    direction = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)
    left_handed = Geometry((50, 60, 40), (4.0, 5.0, 6.0), (-150.0, -120.0 + 39 * 6, -700.0), direction)
    first = make_phantom(4, geometry=straight, lesions=30, scanner=QUIET)
    second = make_phantom(4, geometry=left_handed, lesions=30, scanner=QUIET)
    assert first.label.array_zyx.any()
    np.testing.assert_array_equal(second.label.array_zyx[::-1].transpose(2, 0, 1), first.label.array_zyx)
    np.testing.assert_allclose(second.pet.array_zyx[::-1].transpose(2, 0, 1), first.pet.array_zyx, atol=2e-3, rtol=1e-3)


def test_oblique_grid_samples_the_same_patient() -> None:
    straight = Geometry((48, 40, 40), (4.0, 4.0, 4.0), (-94.0, -78.0, -680.0))
    axes = np.reshape(rotation((20.0, -15.0, 35.0)), (3, 3))
    middle = np.array([0.0, 0.0, -602.0])
    origin = middle - axes @ np.array([68 * 2.0, 68 * 2.0, 56 * 2.5])
    oblique = Geometry((137, 137, 113), (2.0, 2.0, 2.5), tuple(origin.tolist()), tuple(axes.ravel().tolist()))
    scanner = Scanner(fwhm_mm=9.0, noise=0.0)
    first = make_phantom(4, geometry=straight, lesions=4, scanner=scanner).pet
    second = make_phantom(4, geometry=oblique, lesions=4, scanner=scanner).pet
    x, y, z = (
        np.arange(8, size - 8) * 4.0 + start for size, start in zip((48, 40, 40), (-94.0, -78.0, -680.0), strict=True)
    )
    grid = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1]).reshape(3, -1)
    index_xyz = (axes.T @ (grid - origin[:, None])) / np.array([[2.0], [2.0], [2.5]])
    inside = ((index_xyz >= 5) & (index_xyz <= np.array([[131], [131], [107]]))).all(axis=0)
    assert inside.mean() > 0.9
    sampled = ndimage.map_coordinates(second.array_zyx, index_xyz[::-1, inside], order=1)
    expected = first.array_zyx[8:-8, 8:-8, 8:-8].ravel()[inside]
    assert np.corrcoef(sampled, expected)[0, 1] > 0.995
    assert np.abs(sampled - expected).mean() < 0.03 * expected.mean()


def test_point_source_is_blurred_to_the_width_in_millimetres() -> None:
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 100.0
    image = blur(point, fwhm_mm=8.0, spacing_mm=(2.0, 2.5, 3.0))
    assert float(image.sum()) == pytest.approx(100.0, rel=1e-4)
    for axis, step_mm in ((0, 3.0), (1, 2.5), (2, 2.0)):
        profile = image.sum(axis=tuple({0, 1, 2} - {axis}))
        position_mm = (np.arange(41) - 20) * step_mm
        sigma_mm = np.sqrt((profile * position_mm**2).sum() / profile.sum())
        assert 2.3548 * sigma_mm == pytest.approx(8.0, rel=0.02)


def test_relative_noise_grows_where_counts_are_low() -> None:
    geometry = Geometry((60, 60, 81), (3.0, 3.0, 3.0))
    truth = np.full(geometry.shape_zyx, 8.0, np.float32)
    truth[:, :, 30:] = 2.0
    scanner = Scanner(fwhm_mm=6.0, noise=0.1, noise_fwhm_mm=6.0, edge_mm=60.0)
    pet = add_noise(truth, geometry, scanner=scanner, rng=np.random.Generator(np.random.PCG64(1)))
    hot, cold = pet[22:60, :, :30], pet[22:60, :, 30:]
    assert hot.std() == pytest.approx(0.1 * np.sqrt(8), rel=0.05)  # full sensitivity
    assert cold.std() == pytest.approx(0.1 * np.sqrt(2), rel=0.05)
    assert (cold.std() / cold.mean()) ** 2 == pytest.approx(4 * (hot.std() / hot.mean()) ** 2, rel=0.15)
    assert pet[0, :, 30:].std() == pytest.approx(2 * cold.std(), rel=0.15)  # a quarter of the counts
    assert pet.mean() == pytest.approx(truth.mean(), rel=0.01)
    assert pet.min() >= 0


def test_recovery_is_the_peak_of_a_blurred_sphere() -> None:
    sphere = Ellipsoid((0.0, 0.0, 0.0), (6.0, 6.0, 6.0))
    geometry = Geometry((61, 61, 61), (1.0, 1.0, 1.0), (-30.0, -30.0, -30.0))
    block, mask = rasterize(sphere, geometry) or pytest.fail("outside")
    ball = np.zeros(geometry.shape_zyx, np.float32)
    ball[block] = mask
    assert float(ball.sum()) == pytest.approx(4 / 3 * np.pi * 216, rel=0.03)
    peak = float(blur(ball, fwhm_mm=8.0, spacing_mm=(1.0, 1.0, 1.0)).max())
    assert recovery(6.0, fwhm_mm=8.0) == pytest.approx(peak, abs=0.02)
    assert recovery(60.0, fwhm_mm=8.0) == pytest.approx(1.0, abs=1e-6)


def test_solid_between_voxel_centres_owns_the_nearest_one() -> None:
    tiny = Ellipsoid((5.6, 5.3, 4.6), (0.2, 0.2, 0.2))
    block, mask = rasterize(tiny, Geometry((4, 4, 4), (4.0, 4.0, 4.0))) or pytest.fail("outside")
    assert int(mask.sum()) == 1
    (k, j, i), *_ = np.argwhere(mask)
    assert (block[0].start + k, block[1].start + j, block[2].start + i) == (1, 1, 1)
    assert rasterize(Ellipsoid((50.0, 5.0, 5.0), (3.0, 3.0, 3.0)), Geometry((4, 4, 4), (4.0, 4.0, 4.0))) is None


def test_painted_activity_is_that_of_the_drawing() -> None:
    patient = sample_patient(9, lesions=0)
    bladder = next(region for region in patient.healthy if region.name == "bladder")
    low, high = bladder.parts[0].bounds.low_mm, bladder.parts[0].bounds.high_mm
    x, y, z = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    activity = activity_map(patient.healthy, Geometry((1, 1, 1), (2.0, 2.0, 2.0), (x, y, z)))
    assert float(activity[0, 0, 0]) == pytest.approx(bladder.suv, rel=1e-5)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="31 lesions, expected 0 to 30"):
        make_phantom(0, lesions=31)
    with pytest.raises(ValueError, match="seed -1"):
        make_phantom(-1)


def test_command_writes_pairs_on_one_grid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--cases", "1", "--seed", "8", "--spacing", "6", "6", "5", "--lesions", "4", "--format", "mha"]
    assert main([*options, "--output", str(tmp_path)]) == 0
    assert capfd.readouterr().out.startswith("phantom_8_0000.mha lesions: 4, ")
    image = read_volume(tmp_path / "imagesTr" / "phantom_8_0000.mha")
    label = read_volume(tmp_path / "labelsTr" / "phantom_8_0000.mha")
    assert image.geometry == label.geometry
    assert image.geometry.spacing_mm == (6.0, 6.0, 5.0)
    assert set(np.unique(label.array_zyx)) == {0.0, 1.0}
    assert main([*options, "--output", str(tmp_path)]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "holds files already" in error


def test_command_writes_a_picture_of_all_patients(tmp_path: Path) -> None:
    """Five patients: two rows, of which the second holds one; every lesion is outlined in red."""
    picture = tmp_path / "new" / "phantoms.png"
    options = ["--cases", "5", "--seed", "8", "--spacing", "12", "12", "12", "--lesions", "2"]
    assert main([*options, "--picture", str(picture)]) == 0
    rgb = matplotlib.image.imread(picture)[..., :3]
    height, width, _ = rgb.shape
    assert width / height == pytest.approx(4 * 2.7 / (2 * 4.1), rel=0.01)
    red = (rgb[..., 0] > 0.6) & (rgb[..., 1:] < 0.6).all(axis=-1)
    panels = [part.any() for row in np.split(red[: height // 2 * 2], 2) for part in np.array_split(row, 4, axis=1)]
    assert panels == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "nothing to write"),
        (("--output", "unused", "--cases", "0"), "--cases 0: expected 1"),
        (("--output", "unused", "--seed", "-1"), "--seed -1: expected 0 or more"),
        (("--output", "unused", "--lesions", "31"), "--lesions 31: expected 0 to 30"),
        (("--output", "unused", "--spacing", "0", "4", "4"), "--spacing 0.0 4.0 4.0"),
        (("--output", "unused", "--cases", "few"), "invalid int value: 'few'"),
        (("--output", ""), "an empty name, expected a file or folder"),
        (("--picture", "unused"), "--picture unused: expected a name that ends in .png"),
        (("--picture", "/proc/picture.png"), "/proc: picture.png cannot be written there"),
    ],
)
def test_command_refuses_in_one_line(
    arguments: tuple[str, ...], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capfd.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("sent", "reason"), [(signal.SIGTERM, "ended by SIGTERM\n"), (signal.SIGINT, "interrupted\n")])
def test_interrupted_command_leaves_whole_files_only(sent: signal.Signals, reason: str, tmp_path: Path) -> None:
    process = start_cli("--cases", "50", "--output", str(tmp_path / "set"), "--spacing", "8", "8", "8")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("phantom_0_0000")
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + sent, reason)
    for path in (tmp_path / "set").rglob("*.nii.gz"):
        assert path.name.startswith("phantom_0_")
        assert read_volume(path).array_zyx.size
