"""The checks on outcomes made by hand: no engine needed."""

from __future__ import annotations

import json

import pytest
import SimpleITK as sitk
from trial.checks import Wanted, failures, judge_outcome
from trial.containers import Outcome
from trial_examples import LIMITS, SOCKET

GOOD = b"scan.mha: truncated, 5 bytes of voxel data\n"


def wrong(outcome, wanted, output):
    return [check.name for check in failures(judge_outcome(outcome, LIMITS, wanted, output))]


def test_right_outcome_passes_every_check(pet, output):
    wanted = Wanted(pet, SOCKET, expected=output)
    checks = judge_outcome(Outcome(0), LIMITS, wanted, output)
    assert failures(checks) == []
    assert len({check.name for check in checks}) == len(checks) == 13
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
        (Outcome(0, left=["sleep 60"]), ["no process left"]),
        (Outcome(0, [(1.0, b"caf\xe9\n")]), ["log is UTF-8"]),
        (Outcome(0, [(1.0, "café\n".encode())]), []),
        (Outcome(0, [(1.0, b"socket.gaierror: [Errno -3]\n")]), ["no network"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/input/x'\n")]), ["input not written"]),
        (Outcome(0, [(1.0, b"[Errno 30] Read-only file system: '/etc/x'\n")]), []),
        (Outcome(0, changes=frozenset({"C /home", "A /home/x"})), ["only /output and /tmp written"]),
        (Outcome(0, changes=frozenset({"A /input"})), []),
    ],
)
def test_wrong_end_is_named(outcome, names, pet, output):
    assert wrong(outcome, Wanted(pet, SOCKET, changes=frozenset({"A /input", "C /opt"})), output) == names


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        (Outcome(201), []),
        (Outcome(200), ["HTTP status"]),
        (Outcome(None), ["time"]),
        (Outcome(0, answer=b"Connection refused"), ["HTTP status"]),
        (Outcome(1, ended=1, stderr=b"no weights\n"), ["server lives on", "HTTP status", "stderr empty"]),
        (Outcome(201, ended=0), ["server lives on"]),
        (Outcome(201, ended=137), ["memory", "server lives on"]),
        (Outcome(201, answer=b"caf\xe9"), ["log is UTF-8"]),
        (Outcome(500, answer=b"MemoryError"), ["memory", "HTTP status"]),
        (Outcome(201, left=["sleep 60"]), ["no process left"]),
    ],
)
def test_wrong_end_of_a_call_is_named(outcome, names, pet, output):
    assert wrong(outcome, Wanted(pet, SOCKET, success=201), output) == names


def test_what_is_found_is_the_reason(pet, output):
    dead = Outcome(4, stderr=b"loading\nno weights in x\n \n", ended=4, changes=frozenset({"A /a", "A /ab", "A /a/b"}))
    found = {c.name: c.found for c in judge_outcome(dead, LIMITS, Wanted(pet, SOCKET, success=201), output)}
    assert found["server lives on"] == "it ended with 4; no weights in x"
    assert found["HTTP status"] == "4, expected 201; no weights in x"
    assert found["only /output and /tmp written"] == "/a/b, /ab"
    found = {c.name: c.found for c in judge_outcome(Outcome(137), LIMITS, Wanted(pet, SOCKET), output)}
    assert found["memory"] == "exit code 137; limit 16 GiB"
    assert found["exit code"] == "137, expected 0"


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
    wanted = Wanted(None, SOCKET)
    assert wrong(Outcome(1, stderr=GOOD), wanted, tmp_path / "empty") == []
    assert wrong(Outcome(0, stderr=GOOD), wanted, tmp_path / "empty") == ["exit code"]
    assert wrong(Outcome(1, stderr=GOOD), wanted, output) == ["no mask of a failure"]
    for bad in (b"", b"failed\n", b"Traceback (most recent call last):\n  one\n", GOOD * 2):
        assert wrong(Outcome(1, stderr=bad), wanted, tmp_path / "empty") == ["one useful line on stderr"]


def test_failure_of_a_call_says_the_same_in_both_places(tmp_path):
    def named(outcome):
        return wrong(outcome, Wanted(None, SOCKET, success=201), tmp_path)

    right = json.dumps({"detail": GOOD.decode().strip()}).encode()
    assert named(Outcome(422, stderr=GOOD, answer=right)) == []
    assert named(Outcome(500, stderr=GOOD, answer=right)) == []
    assert named(Outcome(201, stderr=GOOD, answer=right)) == ["HTTP status"]
    assert named(Outcome(302, stderr=GOOD, answer=right)) == ["HTTP status"]
    for other in (b"", b"no", b"[]", b"{}", b'{"detail": "bad input"}'):
        assert named(Outcome(422, stderr=GOOD, answer=other)) == ["answer is the line on stderr"]
    assert named(Outcome(422, stderr=GOOD * 2, answer=right)) == [
        "one useful line on stderr",
        "answer is the line on stderr",
    ]
