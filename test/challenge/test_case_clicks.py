"""Clicks through the program: --clicks, and the challenge's file under --task autopet4."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from interactive_networks import click_file, write_interactive_network
from program import assert_failed, assert_is_mask_of_the_scan, files, reports, scan

from swfastedit_core import load_networks, read_label, read_volume, segment
from swfastedit_core.challenge import weights as weights_module
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.engine.openvino_engine import OpenVinoEngine

MASKS = Path("images/tumor-lesion-segmentation")
TUMOUR, OTHER = (14, 18, 15), (25, 20, 12)
OUTSIDE = "the tumour click at voxel (40, 0, 0) lies outside the scan, which has 40 × 36 × 30 voxels"


@pytest.fixture(scope="module")
def interactive(tmp_path_factory):
    return write_interactive_network(tmp_path_factory.mktemp("weights") / "interactive.safetensors")


@pytest.fixture
def pet(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    return tmp_path / "scan.mha"


@pytest.fixture
def platform(tmp_path):
    """Make the platform's input folder with one scan."""
    (tmp_path / "in/images/pet").mkdir(parents=True)
    sitk.WriteImage(scan(), str(tmp_path / "in/images/pet/1.mha"))
    return tmp_path / "in"


def expected_mask(pet, weights, clicks=()):
    networks = load_networks(weights, device="cpu")
    return segment(read_volume(pet), networks, clicks=clicks).mask.array_zyx


def test_clicks_change_the_mask_as_in_the_pipeline_and_their_numbers_are_recorded(pet, interactive, tmp_path, run):
    common = ("--output", tmp_path / "out", "--weights", interactive, "--device", "cpu")
    (report,) = reports(run(pet, *common))
    assert report["clicks"] == {"tumor": 0, "background": 0}
    without = read_label(report["output"]).array_zyx
    np.testing.assert_array_equal(without, expected_mask(pet, interactive))
    clicks = click_file(tmp_path / "clicks.json", tumor=[TUMOUR, TUMOUR], background=[OTHER])
    (report,) = reports(run(pet, *common, "--clicks", clicks))
    assert report["clicks"] == {"tumor": 1, "background": 1}  # equal clicks count once
    assert report["weights"] == [str(interactive)]
    given = [Click(ClickKind.TUMOUR, TUMOUR), Click(ClickKind.BACKGROUND, OTHER)]
    found = read_label(report["output"]).array_zyx
    np.testing.assert_array_equal(found, expected_mask(pet, interactive, given))
    assert np.count_nonzero(found != without) > 50


def test_two_lists_of_slicer_are_taken_together(pet, interactive, tmp_path, run):
    image = sitk.ReadImage(str(pet))
    for name, voxel in (("tumor", TUMOUR), ("background", OTHER)):
        point = {"label": "F-1", "position": image.TransformIndexToPhysicalPoint(voxel)}
        content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}]}
        (tmp_path / f"{name}.mrk.json").write_text(json.dumps(content))
    (report,) = reports(
        run(
            *(pet, "--output", tmp_path / "out", "--weights", interactive, "--device", "cpu"),
            *("--clicks", tmp_path / "tumor.mrk.json", "--clicks", tmp_path / "background.mrk.json"),
        )
    )
    assert report["clicks"] == {"tumor": 1, "background": 1}
    given = [Click(ClickKind.TUMOUR, TUMOUR), Click(ClickKind.BACKGROUND, OTHER)]
    np.testing.assert_array_equal(read_label(report["output"]).array_zyx, expected_mask(pet, interactive, given))


def test_voxel_that_is_clicked_as_both_counts_as_both_with_a_warning(pet, interactive, tmp_path, run):
    clicks = click_file(tmp_path / "clicks.json", tumor=[TUMOUR, OTHER], background=[OTHER])
    done = run(*(pet, "--output", tmp_path / "out", "--weights", interactive, "--device", "cpu", "--clicks", clicks))
    (report,) = reports(done)
    warning = f"{pet}: 1 voxels are clicked as tumour and as background, the first one is {OTHER}"
    assert report["warnings"] == [warning]
    assert report["clicks"] == {"tumor": 2, "background": 1}
    given = [Click(ClickKind.TUMOUR, TUMOUR), Click(ClickKind.TUMOUR, OTHER), Click(ClickKind.BACKGROUND, OTHER)]
    np.testing.assert_array_equal(read_label(report["output"]).array_zyx, expected_mask(pet, interactive, given))


WRONG = [
    ({"tumor": [(40, 0, 0)]}, OUTSIDE),
    ({"version": {"major": 2, "minor": 0}}, "version {'major': 2, 'minor': 0}, expected"),
    ({"type": "Points"}, "type 'Points', expected 'Multiple points'"),
    ({"points": [{"point": [1, 2, 3], "name": "Tumor"}]}, "has the name 'Tumor', expected 'tumor' or 'background'"),
    ({"points": [{"point": [1.5, 2, 3], "name": "tumor"}]}, "lies at [1.5, 2, 3], expected three whole numbers"),
    ({"points": [{"point": [-1, 2, 3], "name": "tumor"}]}, "lies at [-1, 2, 3], expected voxel indices of"),
    ({"points": [{"point": [float("nan"), 2, 3], "name": "tumor"}]}, "lies at [nan, 2, 3], expected three whole"),
    ({"tumor": [(1, 2, 3)] * 100_000}, "has 100000 points, expected 20000 at most"),
    ({"points": None}, "has no list of points"),
    ("no JSON", "is not JSON"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG, ids=[reason[:40] for _, reason in WRONG])
def test_bad_click_file_fails_in_one_line_before_a_network_is_loaded(content, reason, pet, tmp_path, run):
    clicks = tmp_path / "clicks.json"
    if isinstance(content, str):
        clicks.write_text(content)
    else:
        click_file(clicks, **content)
    done = run(pet, "--output", tmp_path / "out", "--weights", tmp_path / "no such", "--clicks", clicks)
    assert_failed(done, f"{clicks}: ", reason)
    assert len(done.stderr) < 300 + len(str(clicks))
    assert not (tmp_path / "out").exists()


def test_networks_that_take_no_clicks_are_refused_before_they_are_prepared(pet, weights, tmp_path, run, monkeypatch):
    monkeypatch.setattr(OpenVinoEngine, "__init__", lambda *_, **__: pytest.fail("prepared"))
    clicks = click_file(tmp_path / "clicks.json")
    one = weights / "1.safetensors"
    done = run(pet, "--output", tmp_path / "out", "--weights", one, "--clicks", clicks, "--device", "cpu")
    assert_failed(done)
    assert done.stderr == f"{clicks}: the networks take no clicks ({one}); name interactive weights with --weights\n"
    assert not (tmp_path / "out").exists()


def test_clicks_belong_to_one_scan(pet, platform, tmp_path, run):
    clicks = click_file(tmp_path / "clicks.json")
    shutil.copy(pet, tmp_path / "other.mha")
    done = run(pet, tmp_path / "other.mha", "--output", tmp_path / "out", "--clicks", clicks)
    assert_failed(done, f"--clicks {clicks}: has the clicks on one scan, and 2 are named; call the program for each")
    done = run("--input", platform, "--output", tmp_path / "out", "--clicks", clicks)
    assert_failed(done, "--clicks names the clicks on one scan, and no scan is named; with --input and --task autopet4")
    done = run(pet, baked_in=f"--clicks {clicks}")
    assert_failed(done, "SWFASTEDIT_OPTIONS: names a scan")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def both(weights, interactive, tmp_path, monkeypatch):
    """Let the default weights be a folder with an automatic and an interactive network."""
    folder = tmp_path / "project/weights"
    folder.mkdir(parents=True)
    shutil.copy(weights / "1.safetensors", folder / "automatic.safetensors")
    shutil.copy(interactive, folder / "interactive.safetensors")
    monkeypatch.setattr(weights_module, "home_of_weights", lambda: folder.parent)
    return folder


def test_default_weights_are_the_interactive_ones_if_there_may_be_clicks(both, pet, platform, tmp_path, run):
    clicks = click_file(tmp_path / "clicks.json", tumor=[TUMOUR])
    (report,) = reports(run(pet, "--output", tmp_path / "a", "--device", "cpu"))
    assert (report["weights"], "clicks" in report) == ([str(both / "automatic.safetensors")], False)
    (report,) = reports(run(pet, "--output", tmp_path / "b", "--device", "cpu", "--clicks", clicks))
    assert (report["weights"], report["clicks"]["tumor"]) == ([str(both / "interactive.safetensors")], 1)
    place = ("--input", platform, "--output", tmp_path / "c", "--device", "cpu")
    (report,) = reports(run(*place))
    assert report["weights"] == [str(both / "automatic.safetensors")]
    (report,) = reports(run(*place, "--task", "autopet4"))
    assert (report["weights"], report["clicks"]["tumor"]) == ([str(both / "interactive.safetensors")], 0)
    # the folders of a challenge have no say about a scan that is named
    (report,) = reports(run(pet, "--output", tmp_path / "d", "--device", "cpu", baked_in="--task autopet4"))
    assert report["weights"] == [str(both / "automatic.safetensors")]


def run_platform(run, platform, weights, *more):
    output = platform.parent / "out"
    options = ("--task", "autopet4", "--input", platform, "--output", output, "--weights", weights, "--device", "cpu")
    return run(*options, *more)


def test_challenge_clicks_are_used_by_an_interactive_network(platform, interactive, run):
    file = click_file(platform / "lesion-clicks.json", tumor=[TUMOUR], background=[OTHER])
    (report,) = reports(run_platform(run, platform, interactive))
    assert report["clicks"] == {"tumor": 1, "background": 1}
    given = [Click(ClickKind.TUMOUR, TUMOUR), Click(ClickKind.BACKGROUND, OTHER)]
    pet = platform / "images/pet/1.mha"
    np.testing.assert_array_equal(assert_is_mask_of_the_scan(report["output"]), expected_mask(pet, interactive, given))
    click_file(file)
    done = run_platform(run, platform, interactive)
    (report,) = reports(done)
    assert report["clicks"] == {"tumor": 0, "background": 0}
    assert "notice" not in done.stdout
    np.testing.assert_array_equal(assert_is_mask_of_the_scan(report["output"]), expected_mask(pet, interactive))


def test_missing_challenge_clicks_are_none_with_a_notice(platform, interactive, run):
    done = run_platform(run, platform, interactive)
    (report,) = reports(done)
    assert report["clicks"] == {"tumor": 0, "background": 0}
    file = platform / "lesion-clicks.json"
    assert f"notice: {file}: no such file; the networks take clicks, and get none\n" in done.stdout
    assert "notice" not in run_platform(run, platform, interactive, "--quiet").stdout


def test_bad_challenge_clicks_are_a_failure_for_an_interactive_network_only(platform, interactive, weights, run):
    file = platform / "lesion-clicks.json"
    click_file(file, tumor=[(40, 0, 0)])
    done = run_platform(run, platform, interactive)
    assert_failed(done)
    assert done.stderr == f"{file}: {OUTSIDE}\n"
    file.write_text("no JSON")
    assert_failed(run_platform(run, platform, interactive), f"{file}: is not JSON")
    file.unlink()
    file.mkdir()
    assert_failed(run_platform(run, platform, interactive), f"{file}: cannot be read (Is a directory)")
    file.rmdir()
    assert not (platform.parent / "out").exists()
    file.write_text("no JSON")
    done = run_platform(run, platform, weights / "1.safetensors")
    (report,) = reports(done)
    assert "clicks" not in report
    assert f"notice: {file}: holds no list of points and is not used\n" in done.stdout
    assert files(platform.parent / "out") == [MASKS / "1.mha"]


def test_challenge_clicks_with_several_scans_are_refused_unless_there_are_none(platform, interactive, run):
    shutil.copy(platform / "images/pet/1.mha", platform / "images/pet/2.mha")
    file = click_file(platform / "lesion-clicks.json", tumor=[TUMOUR])
    done = run_platform(run, platform, interactive)
    assert_failed(done)
    assert done.stderr == f"{file}: has the clicks of one scan, and {platform / 'images/pet'} has 2 scans\n"
    click_file(file)
    assert [one["clicks"]["tumor"] for one in reports(run_platform(run, platform, interactive))] == [0, 0]


def test_clicks_are_not_read_for_a_challenge_without_them(platform, interactive, run):
    (platform / "lesion-clicks.json").write_text("no JSON")
    (report,) = reports(run_platform(run, platform, interactive, "--task", "autopet2"))
    assert report["clicks"] == {"tumor": 0, "background": 0}
