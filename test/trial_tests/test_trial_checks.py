from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from trial.checks import Expected, check_outcome, failures
from trial.containers import Outcome
from trial.image import Check
from trial.output import REPORT, ExpectedFiles
from trial_examples import LIMITS, SOCKET

FILES = ExpectedFiles(SOCKET)

REASON = b"scan.mha: truncated, 5 bytes of voxel data\n"


def failed(outcome, expected, output):
    return [check.name for check in failures(check_outcome(outcome, LIMITS, expected, output))]


def test_right_outcome_passes_every_check(pet, output):
    expected = Expected(pet, ExpectedFiles(SOCKET, mask_folder=output))
    checks = check_outcome(Outcome(0), LIMITS, expected, output)
    assert failures(checks) == []
    assert len({check.name for check in checks}) == len(checks) == 14
    assert checks[-1].found == "1.0000, expected 0.95 at least"


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        (Outcome(1, stderr=b"scan.mha: the file is empty\n"), ["exit code", "stderr empty"]),
        (Outcome(0, stderr=b"UserWarning: x\n"), ["stderr empty"]),
        (Outcome(0, stderr=b"\n \n"), []),
        (Outcome(None), ["time"]),
        (Outcome(137), ["memory", "exit code"]),
        (Outcome(1, [(1.0, b"numpy MemoryError\n")]), ["memory", "exit code"]),
        (Outcome(0, left_processes=["sleep 60"]), ["no process left"]),
        (Outcome(0, [(1.0, b"caf\xe9\n")]), ["log is UTF-8"]),
        (Outcome(0, [(1.0, "café\n".encode())]), []),
        (Outcome(0, [(1.0, b"socket.gaierror: [Errno -3]\n")]), ["no network"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/input/x'\n")]), ["input not written"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/etc/x'\n")]), []),
        (Outcome(0, changes=frozenset({"C /home", "A /home/x"})), ["only /output and /tmp written"]),
        (Outcome(0, changes=frozenset({"A /input"})), []),
    ],
)
def test_check_names_each_fault_of_an_exec(outcome, names, pet, output):
    assert failed(outcome, Expected(pet, FILES, engine_changes=frozenset({"A /input", "C /opt"})), output) == names


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        (Outcome(201), []),
        (Outcome(200), ["HTTP status"]),
        (Outcome(None), ["time"]),
        (Outcome(0, answer=b"Connection refused"), ["HTTP status"]),
        (
            Outcome(1, server_exit_code=1, stderr=b"no weights\n"),
            ["server keeps running", "HTTP status", "stderr empty"],
        ),
        (Outcome(201, server_exit_code=0), ["server keeps running"]),
        (Outcome(201, server_exit_code=137), ["memory", "server keeps running"]),
        (Outcome(201, answer=b"caf\xe9"), ["log is UTF-8"]),
        (Outcome(500, answer=b"MemoryError"), ["memory", "HTTP status"]),
        (Outcome(201, left_processes=["sleep 60"]), ["no process left"]),
    ],
)
def test_check_names_each_fault_of_a_call(outcome, names, pet, output):
    assert failed(outcome, Expected(pet, FILES, success=201), output) == names


def test_failed_check_says_what_was_found(pet, output):
    dead = Outcome(
        4, stderr=b"loading\nno weights in x\n \n", server_exit_code=4, changes=frozenset({"A /a", "A /ab", "A /a/b"})
    )
    found = {c.name: c.found for c in check_outcome(dead, LIMITS, Expected(pet, FILES, success=201), output)}
    assert found["server keeps running"] == "it ended with exit code 4; no weights in x"
    assert found["HTTP status"] == "4, expected 201; no weights in x"
    assert found["only /output and /tmp written"] == "/a/b, /ab"
    found = {c.name: c.found for c in check_outcome(Outcome(137), LIMITS, Expected(pet, FILES), output)}
    assert found["memory"] == "exit code 137; limit 16 GiB"
    assert found["exit code"] == "137, expected 0"


def edit_file(path, edit):
    image = edit(sitk.ReadImage(str(path)))
    sitk.WriteImage(image, str(path))


def with_geometry(image, *, spacing=None, origin=None, direction=None):
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
        (lambda mask: with_geometry(mask, spacing=(2.0, 2.0, 3.1)), ["geometry equals the PET's"]),
        (lambda mask: with_geometry(mask, origin=(0.0, 0.0, 1.0)), ["geometry equals the PET's"]),
        (lambda mask: with_geometry(mask, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)), ["geometry equals the PET's"]),
        (lambda mask: mask[:, :, :2], ["geometry equals the PET's", "Dice against expected_output"]),
        (lambda mask: mask * 0, ["Dice against expected_output"]),
    ],
)
def test_check_names_each_fault_of_a_mask(edit, names, pet, output, tmp_path):
    folder = tmp_path / "expected"
    folder.mkdir()
    (folder / "mask.mha").write_bytes((output / SOCKET / "mask.mha").read_bytes())
    edit_file(output / SOCKET / "mask.mha", edit)
    assert failed(Outcome(0), Expected(pet, ExpectedFiles(SOCKET, mask_folder=folder)), output) == names


@pytest.mark.parametrize(
    ("expected", "found", "dice"),
    [
        ([1, 1, 1, 1, 0], [1, 1, 1, 0, 1], "0.7500"),  # 2 · 3 / (4 + 4)
        ([1] * 20, [1] * 19 + [0], "0.9744"),  # 2 · 19 / (20 + 19)
        ([0, 0], [0, 0], "1.0000"),
        ([0, 0], [0, 1], "0.0000"),
        ([0, 1], [0, 0], "0.0000"),
    ],
)
def test_dice_against_the_expected_mask(expected, found, dice, tmp_path):
    files = tmp_path / "pet.mha", tmp_path / "output" / SOCKET / "mask.mha", tmp_path / "expected" / "mask.mha"
    for file, values in zip(files, (expected, found, expected), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(np.array([[values]], dtype=np.uint8)), str(file))
    checks = check_outcome(
        Outcome(0), LIMITS, Expected(files[0], ExpectedFiles(SOCKET, mask_folder=files[2].parent)), tmp_path / "output"
    )
    assert checks[-1] == Check("Dice against expected_output", float(dice) >= 0.95, f"{dice}, expected 0.95 at least")


def test_expected_mask_must_be_one_file(pet, output, tmp_path):
    expected = Expected(pet, ExpectedFiles(SOCKET, mask_folder=tmp_path / "none"))
    (check,) = failures(check_outcome(Outcome(0), LIMITS, expected, output))
    assert check.found == f"{tmp_path / 'none'} holds 0 masks, expected one"


def test_missing_doubled_and_unreadable_files_fail(pet, output):
    mask = output / SOCKET / "mask.mha"
    expected = Expected(pet, ExpectedFiles(SOCKET, json_values=(("data-centric-model.json", True),)))
    assert failed(Outcome(0), expected, output) == ["data-centric-model.json"]
    (output / "data-centric-model.json").write_text("true")
    assert failed(Outcome(0), expected, output) == []
    (output / SOCKET / "second.mha").write_bytes(mask.read_bytes())
    assert failed(Outcome(0), expected, output) == ["exactly one .mha"]
    (output / SOCKET / "second.mha").unlink()
    mask.write_bytes(mask.read_bytes()[:100])
    assert failed(Outcome(0), expected, output) == ["mask can be read"]
    mask.unlink()
    assert failed(Outcome(0), expected, output) == ["exactly one .mha"]


def test_files_that_nobody_asked_for_fail(pet, output):
    (output / "reports/pet").mkdir(parents=True)
    for name in REPORT:
        (output / "reports/pet" / name).write_text("x")
    (check,) = failures(check_outcome(Outcome(0), LIMITS, Expected(pet, FILES), output))
    assert (check.name, check.found) == (
        "no other file in /output",
        "reports/pet/lesions.csv, reports/pet/mip.png, reports/pet/report.html",
    )


def test_report_must_be_complete_and_fit_the_mask(pet, output):
    folder = output / "reports/pet"
    folder.mkdir(parents=True)
    for name in REPORT:
        (folder / name).write_text("x")
    (folder / "report.json").write_text(json.dumps({"lesions": [{"voxels": 5}, {"voxels": 4}]}))  # the mask has 9
    expected = Expected(pet, ExpectedFiles(SOCKET, report=folder.relative_to(output)))
    assert failed(Outcome(0), expected, output) == []
    (folder / "report.json").write_text(json.dumps({"lesions": [{"voxels": 5}]}))
    assert failed(Outcome(0), expected, output) == ["report"]
    (folder / "report.json").write_text("{}")
    assert failed(Outcome(0), expected, output) == ["report"]
    (folder / "mip.png").write_text("")
    (output / "notes.txt").write_text("")
    assert failed(Outcome(0), expected, output) == ["no other file in /output", "report"]


def test_refusal_needs_one_useful_line_and_no_output(output, tmp_path):
    (tmp_path / "empty").mkdir()
    expected = Expected(None, FILES)
    assert failed(Outcome(1, stderr=REASON), expected, tmp_path / "empty") == []
    assert failed(Outcome(0, stderr=REASON), expected, tmp_path / "empty") == ["exit code"]
    assert failed(Outcome(1, stderr=REASON), expected, output) == ["no output after a failure"]
    for bad in (b"", b"failed\n", b"Traceback (most recent call last):\n  one\n", REASON * 2):
        assert failed(Outcome(1, stderr=bad), expected, tmp_path / "empty") == ["one useful line on stderr"]


def test_refused_call_needs_the_same_reason_in_answer_and_stderr(tmp_path):
    def failed_call(outcome):
        return failed(outcome, Expected(None, FILES, success=201), tmp_path)

    right = json.dumps({"detail": REASON.decode().strip()}).encode()
    assert failed_call(Outcome(422, stderr=REASON, answer=right)) == []
    assert failed_call(Outcome(500, stderr=REASON, answer=right)) == []
    assert failed_call(Outcome(201, stderr=REASON, answer=right)) == ["HTTP status"]
    assert failed_call(Outcome(302, stderr=REASON, answer=right)) == ["HTTP status"]
    for other in (b"", b"no", b"[]", b"{}", b'{"detail": "bad input"}'):
        assert failed_call(Outcome(422, stderr=REASON, answer=other)) == ["answer equals the line on stderr"]
    assert failed_call(Outcome(422, stderr=REASON * 2, answer=right)) == [
        "one useful line on stderr",
        "answer equals the line on stderr",
    ]
