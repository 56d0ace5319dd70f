from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk
import trial.cases
from places import ROOT
from trial.cases import cases
from trial.limits import temporary_folders


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return case, folder and PET by name; the large case is made ten times smaller along each axis."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(trial.cases, "LARGE_SIZE_XYZ", (40, 40, 33))
        monkeypatch.setattr(trial.cases, "LARGE_SPACING_MM", (20.4, 20.4, 30.0))
        found = {}
        for case in cases(ROOT / "test/input", ROOT / "expected_output"):
            folder = tmp_path_factory.mktemp("case")
            found[case.name] = case, folder, case.write_readable(folder)
    return found


@pytest.fixture(scope="module")
def scan(written):
    return sitk.ReadImage(str(written["test/input"][2]))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_the_shipped_case_has_an_expected_mask_and_only_the_truncated_one_is_invalid(written):
    assert [name for name, (case, _, _) in written.items() if case.expected is not None] == ["test/input"]
    assert [name for name, (case, _, _) in written.items() if not case.valid] == ["truncated PET"]
    assert names(written["test/input"][1]) == names(ROOT / "test/input")


def test_all_zero_case_has_a_ct_of_air_under_another_name(written):
    _, folder, pet = written["all-zero PET with CT"]
    (ct,) = (folder / "images/ct").iterdir()
    assert ct.name != pet.name
    assert np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(pet)))).tolist() == [0]
    assert np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(ct)))).tolist() == [-1024]


def test_left_handed_case_is_the_same_patient(written, scan):
    image = sitk.ReadImage(str(written["left-handed PET"][2]))
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(-1)
    for index in ((40, 50, 60), (10, 3, 70)):
        point = scan.TransformIndexToPhysicalPoint(index)
        assert image.GetPixel(image.TransformPhysicalPointToIndex(point)) == scan.GetPixel(index)


def test_large_case_is_the_same_patient_in_the_middle_of_the_challenges_grid(written, scan):
    assert trial.cases.LARGE_SIZE_XYZ == (400, 400, 326)
    assert trial.cases.LARGE_SPACING_MM == (2.04, 2.04, 3.0)
    image = sitk.ReadImage(str(written["PET of 400×400×326"][2]))
    assert (image.GetSize(), image.GetSpacing()) == ((40, 40, 33), (20.4, 20.4, 30.0))
    middles = [
        one.TransformContinuousIndexToPhysicalPoint([(side - 1) / 2 for side in one.GetSize()]) for one in (image, scan)
    ]
    assert middles[0] == pytest.approx(middles[1])
    point = image.TransformIndexToPhysicalPoint((20, 20, 16))
    assert image.GetPixel((20, 20, 16)) == pytest.approx(scan.EvaluateAtPhysicalPoint(point), rel=1e-5)
    assert image.GetPixel((20, 20, 16)) > 0
    assert image.GetPixel((0, 0, 0)) == 0  # outside of the scan


def test_truncated_case_is_half_of_a_file(written):
    _, _, pet = written["truncated PET"]
    assert pet.stat().st_size == written["PET without CT, inputs.json"][2].stat().st_size // 2
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(pet))


def test_case_without_ct_has_the_platforms_list_and_no_clicks(written):
    _, folder, pet = written["PET without CT, inputs.json"]
    assert names(folder) == [f"images/pet/{pet.name}", "inputs.json", "lesion-clicks.json"]
    (entry,) = json.loads((folder / "inputs.json").read_text())
    assert (entry["socket"]["relative_path"], entry["image"]["name"]) == ("images/pet", pet.name)
    assert json.loads((folder / "lesion-clicks.json").read_text())["points"] == []


def modes(folder):
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def test_all_users_may_read_cases_and_weights_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / "in/images/pet").mkdir(parents=True)
        pet = tmp_path / "in/images/pet/1.mha"
        sitk.WriteImage(sitk.Image((2, 2, 2), sitk.sitkFloat32), str(pet))
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/1.pt").touch()
        assert oct(pet.stat().st_mode & 0o777) == "0o600"
        script = f"source .ci/image.sh; require_weights {tmp_path / 'weights'}; pack_model {tmp_path / 'model.tar.gz'}"
        pack = ["bash", "-c", script]
        subprocess.run(pack, check=True, cwd=ROOT)
        shipped, _, with_list, *_ = cases(tmp_path / "in", None)
        with temporary_folders() as folders:
            shipped.write_readable(folders.input)
            assert modes(folders.input) == {"images": "0o755", "images/pet": "0o755", "images/pet/1.mha": "0o644"}
            folders.clear_input()
            assert modes(folders.input) == {}
            with_list.write_readable(folders.input)
            assert {mode for name, mode in modes(folders.input).items() if "." in name} == {"0o644"}
            folders.unpack_model(tmp_path / "model.tar.gz")
            assert modes(folders.model) == {"model": "0o755", "model/1.pt": "0o644"}
            paths = [folders.input.parent, folders.input, folders.output, folders.tmp, folders.reports, folders.model]
            assert [oct(folder.stat().st_mode & 0o777) for folder in paths] == [
                *("0o755", "0o755", "0o777", "0o777", "0o777", "0o755")
            ]
    finally:
        os.umask(before)
