from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk
from places import ROOT
from trial.cases import cases
from trial.limits import temporary_folders


def test_cases_are_what_their_names_say(tmp_path):
    found = {}
    for case in cases(ROOT / "test/input", None):
        folder = tmp_path / case.name.replace("/", " ")
        folder.mkdir()
        found[case.name] = (case, folder, case.put(folder))
    _, folder, pet = found["all-zero PET with CT"]
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(pet))).any()
    (ct,) = (folder / "images/ct").iterdir()
    assert ct.name != pet.name
    _, folder, pet = found["left-handed PET"]
    image = sitk.ReadImage(str(pet))
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(-1)
    original = sitk.ReadImage(str(found["test/input"][2]))
    point = original.TransformIndexToPhysicalPoint((40, 50, 60))
    assert image.GetPixel(image.TransformPhysicalPointToIndex(point)) == original.GetPixel((40, 50, 60))
    assert sitk.ReadImage(str(found["PET of 400×400×326"][2])).GetSize() == (400, 400, 326)
    truncated, _, pet = found["truncated PET"]
    assert not truncated.usable
    _, folder, _ = found["PET without CT, inputs.json"]
    assert not (folder / "images/ct").exists()
    assert (folder / "inputs.json").is_file()


def modes(folder):
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def test_cases_and_weights_can_be_read_whatever_the_umask_here(tmp_path):
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
        shipped, _, inventory, *_ = cases(tmp_path / "in", None)
        with temporary_folders() as folders:
            shipped.put(folders.case)
            assert modes(folders.case) == {"images": "0o755", "images/pet": "0o755", "images/pet/1.mha": "0o644"}
            folders.clear_case()
            assert modes(folders.case) == {}
            inventory.put(folders.case)
            assert {mode for name, mode in modes(folders.case).items() if "." in name} == {"0o644"}
            folders.unpack_model(tmp_path / "model.tar.gz")
            assert modes(folders.model) == {"model": "0o755", "model/1.pt": "0o644"}
            folded = [folders.case.parent, folders.case, folders.output, folders.scratch, folders.notes, folders.model]
            assert [oct(folder.stat().st_mode & 0o777) for folder in folded] == [
                *("0o755", "0o755", "0o777", "0o777", "0o777", "0o755")
            ]
    finally:
        os.umask(before)
