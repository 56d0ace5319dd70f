"""The platform's folders: where scans, CT, clicks and weights are found."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import ROOT

from swfastedit_core import UserError
from swfastedit_core.challenge import interface as contract
from swfastedit_core.challenge.interface import find_cts, find_pets
from swfastedit_core.challenge.weights import default_weights, home_of_weights


def test_platform_paths(tmp_path):
    pets = tmp_path / "images" / "pet"
    pets.mkdir(parents=True)
    for name in ("b.mha", "a.mha", ".hidden.mha", "notes.txt"):
        (pets / name).touch()
    assert [path.name for path in find_pets(tmp_path)] == ["a.mha", "b.mha"]


INVENTORY = {"socket": {"slug": "pet", "relative_path": "images/pet"}, "image": {"pk": "b", "name": "b.mha"}}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ([INVENTORY], ["b.mha"]),
        ([{"interface": INVENTORY["socket"], "image": {"pk": "b", "name": "another name"}}], ["b.mha"]),
        ([{**INVENTORY, "image": {"pk": "0", "name": "b.mha"}}], ["b.mha"]),
        ([{**INVENTORY, "image": {"pk": "0", "name": "elsewhere.mha"}}], ["a.mha", "b.mha"]),
        ([{**INVENTORY, "socket": {"relative_path": "images/pet/"}}], ["b.mha"]),
        ([{**INVENTORY, "socket": {"relative_path": None}}], ["a.mha", "b.mha"]),
        ([{**INVENTORY, "socket": {"relative_path": "images/ct"}}], ["a.mha", "b.mha"]),
        ([{"socket": INVENTORY["socket"], "value": 3, "image": None}, "odd", None], ["a.mha", "b.mha"]),
        ({"no": "list"}, ["a.mha", "b.mha"]),
        ("no JSON", ["a.mha", "b.mha"]),
    ],
)
def test_inventory_names_the_pet_and_is_never_needed(content, names, tmp_path):
    (tmp_path / "images/pet").mkdir(parents=True)
    for name in ("a.mha", "b.mha"):
        (tmp_path / "images/pet" / name).touch()
    (tmp_path / "inputs.json").write_text(content if content == "no JSON" else json.dumps(content))
    assert [path.name for path in find_pets(tmp_path)] == names


def test_clicks_are_noticed_where_the_task_has_them(tmp_path):
    clicks = tmp_path / "lesion-clicks.json"
    task = contract.TASKS["autopet4"]
    assert contract.click_notice(tmp_path, task) is None
    points = [{"point": [1, 2, 3], "name": "tumor"}, {"point": [4, 5, 6], "name": "background"}]
    clicks.write_text(json.dumps({"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": points}))
    assert contract.click_notice(tmp_path, task) == f"{clicks}: 2 click(s) not used, the network takes no clicks"
    assert contract.click_notice(tmp_path, contract.TASKS["autopet2"]) is None
    clicks.write_text(json.dumps({"points": []}))
    assert contract.click_notice(tmp_path, task) is None
    for odd in ("no JSON", "[]", '{"points": 3}'):
        clicks.write_text(odd)
        assert contract.click_notice(tmp_path, task) == f"{clicks}: holds no list of points and is not used"


def test_weights_of_an_installed_package_are_in_it_and_those_of_a_clone_beside_it(tmp_path):
    package = tmp_path / "swfastedit_core"
    package.mkdir()
    (tmp_path / "weights").mkdir()
    assert home_of_weights(package) == tmp_path
    (package / "weights").mkdir()
    assert home_of_weights(package) == package
    assert home_of_weights() == ROOT


def test_uploaded_model_takes_the_place_of_the_weights_in_the_box(tmp_path):
    model, project = tmp_path / "model", tmp_path / "project"
    assert default_weights(project, model) == project / "weights"
    model.mkdir()
    assert default_weights(project, model) == project / "weights"
    (model / "readme.txt").touch()
    with pytest.raises(
        UserError, match=r"found readme\.txt, expected weights \(\.safetensors, \.pt, \.pth or \.ckpt\)"
    ):
        default_weights(project, model)
    (model / "0.pt").touch()
    assert default_weights(project, model) == model


def test_weights_in_the_box_may_lie_in_one_folder_of_their_own(tmp_path):
    box = tmp_path / "weights"
    (box / "fold0").mkdir(parents=True)
    (box / "README.md").touch()
    with pytest.raises(UserError, match=r"found README\.md, expected weights"):
        default_weights(tmp_path, tmp_path / "model")
    (box / "fold0/mine.safetensors").touch()
    assert default_weights(tmp_path, tmp_path / "model") == box / "fold0"
    (box / "demo.safetensors").touch()  # which of the two is meant?
    with pytest.raises(UserError, match=r"found README\.md, demo\.safetensors, fold0/mine\.safetensors, expected"):
        default_weights(tmp_path, tmp_path / "model")


LOOK = """
import sys
from pathlib import Path
from swfastedit_core.challenge.interface import find_pets
from swfastedit_core.challenge.weights import default_weights
from swfastedit_core.errors import UserError
for top in map(Path, sys.argv[1:]):
    try:
        print(find_pets(top / "input") if (top / "input").exists() else default_weights(top, top / "model"))
    except UserError as error:
        print(error)
"""


def test_folder_that_cannot_be_read_is_no_empty_one(tmp_path, without_rights):
    tops = [tmp_path / number for number in "123"]
    folders = [tops[0] / "model", tops[1] / "model/below", tops[2] / "input/images/pet"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "0.safetensors").touch()
        folder.chmod(0)
    command = [*without_rights, sys.executable, "-c", LOOK, *map(str, tops)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    for folder in folders:
        folder.chmod(0o700)
    assert done.stderr == ""
    for line, folder in zip(done.stdout.splitlines(), folders, strict=True):
        assert line.startswith(f"{folder}: cannot be read (Permission denied)")


def test_uploaded_model_may_lie_in_one_folder_of_its_own(tmp_path):
    for name in ("a/0.safetensors", "a/1.ckpt", "a/2.pth", ".b/2.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert default_weights(tmp_path / "project", tmp_path) == tmp_path / "a"
    (tmp_path / "2.pt").touch()
    with pytest.raises(UserError, match="in one folder"):
        default_weights(tmp_path / "project", tmp_path)


def filled(folder, *, pets, cts, named=None):
    """Fill an input folder with empty files. `named`: the CT in the inventory."""
    for place, names in (("pet", pets), ("ct", cts)):
        for name in names:
            (folder / "images" / place).mkdir(parents=True, exist_ok=True)
            (folder / "images" / place / name).touch()
    if named:
        socket = {"slug": "ct", "relative_path": "images/ct"}
        (folder / "inputs.json").write_text(json.dumps([{"socket": socket, "image": {"pk": named, "name": named}}]))
    return folder


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
    folder = filled(tmp_path, pets=pets, cts=cts, named=named)
    files = [folder / "images/pet" / name for name in pets]
    if isinstance(found, list):
        assert [path.relative_to(folder / "images/ct").name for path in find_cts(folder, files)] == found
        return
    with pytest.raises(UserError) as caught:
        find_cts(folder, files)
    assert str(caught.value).startswith(f"{folder / 'images/ct'}: {found}")
