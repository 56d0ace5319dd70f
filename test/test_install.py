"""`pip install .`: the command, its weights, the extras, and what is left in the clone."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import SimpleITK as sitk
from places import ROOT
from program import assert_is_mask_of_the_scan, files, scan

NAMES = ("pyproject.toml", "hatch_build.py", "requirements.txt", "process.py", "README.md", "LICENSE", "CHANGELOG.md")
NAMES += ("CITATION.cff", "swfastedit_core", "weights")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
LOCAL = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")  # nothing is downloaded
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "SWFAST"))}


def call(*command, **more):
    done = subprocess.run([*map(str, command)], env=ENVIRONMENT, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Copy what a package is made of, with a scan beside it that must not get into one."""
    top = tmp_path_factory.mktemp("source") / "clone"
    for name in NAMES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        copy(
            ROOT / name,
            top / name,
            **({"ignore": shutil.ignore_patterns("__pycache__")} if copy != shutil.copy else {}),
        )
    sitk.WriteImage(scan(), str(top / "patient.mha"))
    return top


@pytest.fixture(scope="module")
def wheel(clone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call(*PIP, "wheel", *LOCAL, "--wheel-dir", folder, clone)
    (built,) = folder.iterdir()
    return built


def environment(folder):
    """Make an environment that has the packages of this one, and return its interpreter."""
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return python


def requirements(wheel):
    """Return the extras, None for none, and the requirements of each."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    found = {}
    for line in metadata.get_all("Requires-Dist"):
        extra = re.search(r"extra == '(\w+)'", line)
        name, version = re.match(r"([\w-]+)==([\w.]+)", line).groups()
        found.setdefault(extra and extra[1], {})[name.lower()] = version
    return found


def test_installation_leaves_nothing_in_the_clone(clone, wheel):
    copied = {Path("patient.mha"), *(path for path in files(clone) if path.parts[0] in NAMES)}
    assert {path.parts[0] for path in set(files(clone)) - copied} <= {"__pycache__"}  # of hatch_build.py
    assert {path for path in files(clone) if path.parts[0] in NAMES and not (ROOT / path).exists()} == set()
    assert not list(clone.glob("*.egg-info")) + list(clone.glob("build")) + list(clone.glob("dist"))


def test_wheel_has_the_code_and_the_weights_and_nothing_else(clone, wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert (
            archive.read("swfastedit_core/weights/demo.safetensors") == (ROOT / "weights/demo.safetensors").read_bytes()
        )
    code = {f"swfastedit_core/{name}" for name in files(clone / "swfastedit_core") if "__pycache__" not in name.parts}
    assert inside == code | {f"swfastedit_core/weights/{name}" for name in files(clone / "weights")}


def test_versions_are_those_of_requirements_and_extras_are_left_out(wheel):
    found = requirements(wheel)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.partition(";")[0].lower().split("==") for line in lines if line and not line.startswith("#"))
    assert found.pop("gpu") == {"cupy-cuda13x": pins.pop("cupy-cuda12x")}  # the torch of PyPI has CUDA 13
    assert {name: version for part in found.values() for name, version in part.items()} == pins
    assert set(found) == {None, "train"}
    assert {"monai", "lightning-fabric", "blosc2", "nibabel", "matplotlib"} <= set(found["train"])
    assert {"torch", "openvino", "starlette", "isal"} <= set(found[None])


@pytest.mark.long
def test_source_archive_makes_the_same_wheel(clone, wheel, tmp_path):
    call(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=clone)
    (archive,) = tmp_path.glob("*.tar.gz")
    assert "patient.mha" not in call("tar", "-tzf", archive)
    call(*PIP, "wheel", *LOCAL, "--wheel-dir", tmp_path, archive)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.long
def test_installed_command_segments_a_scan_in_any_folder(wheel, tmp_path):
    python = environment(tmp_path / "venv")
    call(*PIP, "--python", python, "install", *LOCAL, wheel)
    here = tmp_path / "elsewhere"
    here.mkdir()
    sitk.WriteImage(scan(), str(here / "scan.nii.gz"))
    said = call(tmp_path / "venv/bin/swfastedit", "scan.nii.gz", "--device", "cpu", cwd=here)
    report = json.loads(said.splitlines()[-1])
    assert report["weights"] == [
        str(next((tmp_path / "venv").glob("lib/*/site-packages/swfastedit_core/weights/*.s*")))
    ]
    assert report["output"] == "masks/scan.nii.gz"
    assert_is_mask_of_the_scan(here / "masks/scan.nii.gz")
    assert files(here) == [Path("masks/scan.nii.gz"), Path("scan.nii.gz")]
    assert call(tmp_path / "venv/bin/swfastedit", "--help", cwd=here).startswith("usage: swfastedit ")
    for module in ("train", "checkpoint", "phantom"):
        assert "usage: " in call(python, "-m", f"swfastedit_core.{module}", "--help", cwd=here)


@pytest.mark.long
def test_editable_installation_takes_the_weights_of_the_clone(clone, tmp_path):
    python = environment(tmp_path / "venv")
    call(*PIP, "--python", python, "install", *LOCAL, "--editable", clone)
    assert not list((tmp_path / "venv").glob("lib/*/site-packages/swfastedit_core"))
    code = "from swfastedit_core.challenge.weights import *; print(default_weights(home_of_weights()))"
    assert call(python, "-c", code, cwd=tmp_path).strip() == str(clone / "weights")


@pytest.mark.long
def test_clone_that_cannot_be_written_is_installed(clone, without_rights, tmp_path):
    shutil.copytree(clone, tmp_path / "clone", ignore=shutil.ignore_patterns("__pycache__"))
    folders = [tmp_path / "clone", *(path for path in (tmp_path / "clone").rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        call(*without_rights, *PIP, "wheel", *LOCAL, "--wheel-dir", tmp_path / "wheel", tmp_path / "clone")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert len(list((tmp_path / "wheel").iterdir())) == 1


@pytest.mark.parametrize(
    ("cuda", "taken"),
    [("12.6", ["cupy-cuda12x==14.2.0"]), ("13.0", ["cupy-cuda13x==14.2.0"]), ("None", [])],
)
def test_container_takes_the_cupy_of_the_cuda_of_its_torch(cuda, taken, tmp_path):
    """The command of the Dockerfile with a stand-in for Python, which answers for torch and keeps pip's list."""
    text = (ROOT / "Dockerfile").read_text()
    command = re.search(r"^RUN (export PIP_.*?[^\\])$", text, re.MULTILINE | re.DOTALL)[1]
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copy(ROOT / ".ci/remove_unused.py", tmp_path)
    (tmp_path / "torch.py").write_text(f"class version: cuda = {None if cuda == 'None' else cuda!r}\n")
    fake = tmp_path / "python"
    answer = f'case "$1" in -c) exec {sys.executable} "$@" ;; remove*) ;; *) cp runtime.txt asked.txt ;; esac'
    fake.write_text(f"#!/bin/sh\n{answer}\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, env={"PATH": path, "PYTHONPATH": str(tmp_path)}, check=True)
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert [line.partition(";")[0].strip() for line in asked if line.startswith("cupy")] == taken
    assert "uvicorn==0.54.0" in asked
    assert not [line for line in asked if line.startswith("monai")]


def test_extras_of_the_tools_are_a_dependency_group():
    """`.ci/environment.sh` reads the group; hatchling in it is what the tests build with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(line.startswith("hatchling==") for line in project["dependency-groups"]["dev"])
    assert project["build-system"]["requires"] == ["hatchling>=1.27"]
