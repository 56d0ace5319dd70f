"""One case after the other: formats, options, masks and reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from program import MASKS, SIZE_XYZ, assert_is_mask_of_the_scan, files, reports, scan


def test_sockets_of_another_task_by_options_baked_into_an_image(tmp_path, weights, run):
    (tmp_path / "in/images/pet").mkdir(parents=True)
    (tmp_path / "in/images/ct").mkdir()
    for name in ("pet/1.mha", "pet/2.mha", "ct/3.mha"):
        sitk.WriteImage(scan(), str(tmp_path / "in/images" / name))
    socket = {"slug": "pet", "relative_path": "images/pet"}
    inventory = [{"socket": socket, "image": {"pk": "2", "name": "2.mha"}}]
    (tmp_path / "in/inputs.json").write_text(json.dumps(inventory))
    clicks = tmp_path / "in/lesion-clicks.json"
    clicks.write_text(json.dumps({"points": [{"point": [1, 2, 3], "name": "tumor"}]}))
    done = run(
        *("--input", tmp_path / "in", "--output", tmp_path / "out", "--weights", weights / "1.safetensors"),
        *("--data-centric", "false"),  # what comes later counts
        baked_in="--task autopet4 --data-centric true --region full",
    )
    (report,) = reports(done)
    assert report["windows"] == report["windows_full_grid"]
    masks = Path("images/tumor-lesion-segmentation")
    assert files(tmp_path / "out") == [Path("data-centric-model.json"), masks / "2.mha"]
    assert (tmp_path / "out/data-centric-model.json").read_text() == "false"
    assert f"notice: {clicks}: 1 click(s) not used, the network takes no clicks\n" in done.stdout


def test_a_single_file_is_taken_by_an_image_that_is_built_for_calls(tmp_path, weights, run):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    done = run(
        *("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors"),
        baked_in="--api-method invoke --data-centric true",
    )
    assert reports(done)[0]["output"] == str(tmp_path / "out/scan.mha")
    assert files(tmp_path / "out") == [Path("scan.mha")]


@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".nrrd"])
def test_single_file_of_any_format(suffix, tmp_path, weights, run):
    pet = tmp_path / f"scan{suffix}"
    sitk.WriteImage(scan(), str(pet))
    done = run("--pet", pet, "--output", tmp_path / "new/out", "--weights", weights / "1.safetensors", "--quiet")
    (report,) = reports(done)
    assert done.stdout.count("\n") == 1
    assert files(tmp_path / "new/out") == [Path(f"scan{suffix}")]
    assert assert_is_mask_of_the_scan(tmp_path / "new/out" / f"scan{suffix}").sum() == report["lesion_voxels"] > 0


def test_options_change_what_they_say(tmp_path, weights, run):
    pet = tmp_path / "scan.mha"
    sitk.WriteImage(scan(), str(pet))

    def lesions(name, *options):
        (report,) = reports(
            run("--pet", pet, "--output", tmp_path / name, "--quiet", "--precision", "float32", *options)
        )
        return sitk.GetArrayFromImage(sitk.ReadImage(report["output"])), report

    one = ("--weights", weights / "1.safetensors")
    full, full_report = lesions("full", *one, "--region", "full", "--window-batch", "3")
    assert full_report["windows"] == full_report["windows_full_grid"] == 8
    dense, dense_report = lesions("dense", *one, "--region", "full", "--overlap", "0.9")
    assert dense_report["windows"] == 3 * 4 * 2  # steps of 3: 0 3 4, 0 3 6 8, 0 2
    assert 0 < np.count_nonzero(dense != full) < 0.3 * full.size
    floored, _ = lesions("floor", *one, "--region", "full", "--min-lesion-ml", "1e6")
    assert floored.sum() == 0
    both, both_report = lesions("both", "--weights", weights, "--region", "full")
    assert (both_report["windows"], len(both_report["weights"])) == (16, 2)
    vote, _ = lesions("vote", *one, "--weights", weights / "2.safetensors", "--region", "full", "--vote")
    other, _ = lesions("other", "--weights", weights / "2.safetensors", "--region", "full")
    np.testing.assert_array_equal(vote, full & other)  # of two, both have to agree
    assert np.count_nonzero(both != vote) > 0


def test_odd_scans_still_give_a_mask(tmp_path, weights, run):
    arrays = {
        "negative.mha": -np.ones((9, 9, 9)),
        "one voxel.mha": np.ones((1, 1, 1)),
        "thin.mha": np.ones((3, 200, 2)),
        "zeros.mha": np.zeros(SIZE_XYZ[::-1]),
    }
    (tmp_path / "images/pet").mkdir(parents=True)
    for name, array in arrays.items():
        sitk.WriteImage(scan(array), str(tmp_path / "images/pet" / name))
    done = run("--input", tmp_path, "--output", tmp_path / "out", "--weights", weights / "1.safetensors", "--quiet")
    for report, (name, array) in zip(reports(done), arrays.items(), strict=True):
        assert report["output"] == str(tmp_path / "out" / MASKS / name)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(report["output"]))
        assert mask.shape == array.shape
        assert set(np.unique(mask)) <= {0, 1}
        assert mask.sum() == report["lesion_voxels"]


def test_warnings_are_on_stdout_and_in_the_report(tmp_path, weights, run):
    array = np.ones((30, 40, 36))
    array[0, 0, 0], array[1, 1, 1] = np.nan, 5000
    sitk.WriteImage(scan(array), str(tmp_path / "scan.mha"))
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    (report,) = reports(done)
    assert [("1 voxels were not finite" in w, "Bq/ml" in w) for w in report["warnings"]] == [
        (True, False),
        (False, True),
    ]
    assert done.stdout.count("warning: ") == 2
