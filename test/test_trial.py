"""The checks of the trial on outcomes made by hand: no engine needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from trial.containers import Image, Outcome
from trial.judge import Wanted, failures, judge_image, judge_outcome
from trial.limits import GIB, Limits
from trial.scans import cases

SOCKET = Path("images/automated-petct-lesion-segmentation")
LIMITS = Limits(seconds=300.0, memory_bytes=16 * GIB)
IMAGE = Image(
    "x", user="10001:10001", architecture="linux/amd64", labels={}, entrypoint=["python"], command=[], environment={}
)


@pytest.fixture
def pet(tmp_path):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    image.SetSpacing((2.0, 2.0, 3.0))
    image.SetDirection((0, -1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "pet.mha"))
    return tmp_path / "pet.mha"


@pytest.fixture
def output(tmp_path, pet):
    """Write a right mask."""
    mask = sitk.Cast(sitk.ReadImage(str(pet)) > 50, sitk.sitkUInt8)
    (tmp_path / "output" / SOCKET).mkdir(parents=True)
    sitk.WriteImage(mask, str(tmp_path / "output" / SOCKET / "mask.mha"))
    return tmp_path / "output"


def wrong(outcome, wanted, output):
    return [check.name for check in failures(judge_outcome(outcome, LIMITS, wanted, output))]


def test_right_outcome_passes_every_check(pet, output):
    wanted = Wanted(pet, SOCKET, expected=output)
    checks = judge_outcome(Outcome(0), LIMITS, wanted, output)
    assert failures(checks) == []
    assert len({check.name for check in checks}) == len(checks) == 12
    assert checks[-1].found == "1.0000, expected 0.95 at least"


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        (Outcome(1, stderr=b"scan.mha: the file is empty\n"), ["exit code", "stderr empty"]),
        (Outcome(0, stderr=b"UserWarning: x\n"), ["stderr empty"]),
        (Outcome(0, stderr=b"\n \n"), []),
        (Outcome(None), ["time", "exit code"]),
        (Outcome(137), ["memory", "exit code"]),
        (Outcome(1, [(1.0, b"numpy MemoryError\n")]), ["memory", "exit code"]),
        (Outcome(0, left=["sleep 60"]), ["no process left"]),
        (Outcome(0, [(1.0, b"caf\xe9\n")]), ["log is UTF-8"]),
        (Outcome(0, [(1.0, "café\n".encode())]), []),
        (Outcome(0, [(1.0, b"socket.gaierror: [Errno -3]\n")]), ["no network"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/input/x'\n")]), ["input not written"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/etc/x'\n")]), []),
    ],
)
def test_wrong_end_is_named(outcome, names, pet, output):
    assert wrong(outcome, Wanted(pet, SOCKET), output) == names


def edited(path, edit):
    image = edit(sitk.ReadImage(str(path)))
    sitk.WriteImage(image, str(path))


def placed(image, *, spacing=None, origin=None, direction=None):
    image.SetSpacing(spacing or image.GetSpacing())
    image.SetOrigin(origin or image.GetOrigin())
    image.SetDirection(direction or image.GetDirection())
    return image


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (lambda mask: sitk.Cast(mask, sitk.sitkFloat32), ["mask is uint8 of 0 and 1"]),
        (lambda mask: sitk.Cast(mask, sitk.sitkInt16), ["mask is uint8 of 0 and 1"]),
        (lambda mask: mask * 255, ["mask is uint8 of 0 and 1"]),
        (lambda mask: placed(mask, spacing=(2.0, 2.0, 3.1)), ["geometry equals the PET's"]),
        (lambda mask: placed(mask, origin=(0.0, 0.0, 1.0)), ["geometry equals the PET's"]),
        (lambda mask: placed(mask, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)), ["geometry equals the PET's"]),
        (lambda mask: mask[:, :, :2], ["geometry equals the PET's", "Dice against expected_output"]),
        (lambda mask: mask * 0, ["Dice against expected_output"]),
    ],
)
def test_wrong_mask_is_named(edit, names, pet, output, tmp_path):
    expected = tmp_path / "expected"
    expected.mkdir()
    (expected / "mask.mha").write_bytes((output / SOCKET / "mask.mha").read_bytes())
    edited(output / SOCKET / "mask.mha", edit)
    assert wrong(Outcome(0), Wanted(pet, SOCKET, expected=expected), output) == names


def test_missing_doubled_and_unreadable_masks_are_named(pet, output):
    mask = output / SOCKET / "mask.mha"
    wanted = Wanted(pet, SOCKET, values=(("data-centric-model.json", True),))
    assert wrong(Outcome(0), wanted, output) == ["data-centric-model.json"]
    (output / "data-centric-model.json").write_text("true")
    assert wrong(Outcome(0), wanted, output) == []
    (output / SOCKET / "second.mha").write_bytes(mask.read_bytes())
    assert wrong(Outcome(0), wanted, output) == ["exactly one .mha"]
    (output / SOCKET / "second.mha").unlink()
    mask.write_bytes(mask.read_bytes()[:100])
    assert wrong(Outcome(0), wanted, output) == ["mask can be read"]
    mask.unlink()
    assert wrong(Outcome(0), wanted, output) == ["exactly one .mha"]


def test_failure_is_one_useful_line_and_no_mask(output, tmp_path):
    (tmp_path / "empty").mkdir()
    exec_case, call = Wanted(None, SOCKET), Wanted(None, SOCKET, success=201)
    good = b"scan.mha: truncated, 5 bytes of voxel data\n"
    assert wrong(Outcome(1, stderr=good), exec_case, tmp_path / "empty") == []
    assert wrong(Outcome(422, stderr=good), call, tmp_path / "empty") == []
    assert wrong(Outcome(0, stderr=good), exec_case, tmp_path / "empty") == ["exit code"]
    assert wrong(Outcome(201, stderr=good), call, tmp_path / "empty") == ["exit code"]
    assert wrong(Outcome(1, stderr=good), exec_case, output) == ["no mask of a failure"]
    for bad in (b"", b"failed\n", b"Traceback (most recent call last):\n  one\n", good * 2):
        assert wrong(Outcome(1, stderr=bad), exec_case, tmp_path / "empty") == ["one useful line on stderr"]


@pytest.mark.parametrize(
    ("image", "cuda", "user", "names"),
    [
        (IMAGE, "None", "10001", []),
        (IMAGE, "12.6 sm_75 sm_90", "10001", []),
        (IMAGE, "13.0 sm_75", "10001", ["CUDA version"]),
        (IMAGE, "12.8 sm_75", "10001", ["CUDA version"]),
        (IMAGE, "12.6 sm_80 sm_90", "10001", ["CUDA for T4"]),
        (replace(IMAGE, user=""), "None", "0", ["image user"]),
        (replace(IMAGE, user="root"), "None", "0", ["image user"]),
        (replace(IMAGE, user="admin"), "None", "0", ["image user"]),  # a name for uid 0
        (replace(IMAGE, architecture="linux/arm64"), "None", "1", ["image architecture"]),
        (replace(IMAGE, labels={"org.grand-challenge.api-method": "http"}), "None", "1", ["image label"]),
        (replace(IMAGE, entrypoint=[]), "None", "1", ["image entrypoint"]),
    ],
)
def test_wrong_image_is_named(image, cuda, user, names):
    assert [check.name for check in failures(judge_image(image, cuda=cuda, user=user))] == names


def test_cases_are_what_their_names_say(tmp_path):
    found = {}
    for case in cases(Path(__file__).parent / "input", None):
        folder = tmp_path / case.name.replace("/", " ")
        folder.mkdir()
        found[case.name] = (case, folder, case.fill(folder))
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
