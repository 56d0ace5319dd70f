"""The checks of the trial on outcomes made by hand: no engine needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from trial.containers import Engine, Outcome, peak_and_others
from trial.image import Image
from trial.judge import Wanted, failures, judge_image, judge_outcome
from trial.limits import GIB, Limits, judge_limits, temporary_folders
from trial.rows import Trial
from trial.scans import cases

SOCKET = Path("images/automated-petct-lesion-segmentation")
LIMITS = Limits(seconds=300.0, memory_bytes=16 * GIB)
LABELS = {
    "org.opencontainers.image.title": "swfastedit",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "unknown",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.source": "unknown",
}
IMAGE = Image(
    "x",
    user="10001:10001",
    architecture="linux/amd64",
    labels=LABELS,
    entrypoint=["python"],
    command=[],
    environment={},
)
GOOD = b"scan.mha: truncated, 5 bytes of voxel data\n"


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


def labelled(**values):
    return replace(IMAGE, labels={**LABELS, **{name.replace("_", "."): value for name, value in values.items()}})


@pytest.mark.parametrize(
    ("image", "cuda", "uid", "named"),
    [
        (IMAGE, None, 10001, {}),
        (IMAGE, "12.6 sm_75 sm_90", 10001, {}),
        (replace(IMAGE, user="algorithm"), None, 10001, {}),
        (IMAGE, "13.0 sm_75", 10001, {"CUDA version": "13.0, expected 12.6 at most"}),
        (IMAGE, "12.8 sm_75", 10001, {"CUDA version": "12.8, expected 12.6 at most"}),
        (IMAGE, "12.6 sm_80 sm_90", 10001, {"CUDA for T4": "sm_80 sm_90, expected sm_75 among them"}),
        (
            replace(IMAGE, user=""),
            None,
            0,
            {"image user": "not set, expected one that is not root", "image uid": "0"},
        ),
        (
            replace(IMAGE, user="00:1"),
            None,
            0,
            {"image user": "00:1, expected one that is not root", "image uid": "0"},
        ),
        (replace(IMAGE, user="admin"), None, 0, {"image uid": "0"}),  # a name for root
        (
            replace(IMAGE, user="my-user"),
            None,
            1,
            {"image user": "my-user, expected letters and digits only, as in 10001:10001"},
        ),
        (
            replace(IMAGE, architecture="linux/arm64"),
            None,
            1,
            {"image architecture": "linux/arm64, expected linux/amd64"},
        ),
        (
            replace(IMAGE, labels={**LABELS, "org.grand-challenge.api-method": "http"}),
            None,
            1,
            {"image api-method": "http, expected exec or invoke"},
        ),
        (replace(IMAGE, entrypoint=[]), None, 1, {"image entrypoint": "none, and no command"}),
        (
            replace(IMAGE, labels={**LABELS, "org.opencontainers.image.licenses": ""}),
            None,
            1,
            {"image labels": "no org.opencontainers.image.licenses: build with ./build.sh"},
        ),
        (
            replace(IMAGE, labels={**LABELS, "org.opencontainers.image.version": "unknown"}),
            None,
            1,
            {"image labels": "no org.opencontainers.image.version: build with ./build.sh"},
        ),
    ],
)
def test_wrong_image_is_named(image, cuda, uid, named):
    version, *architectures = cuda.split() if cuda else [None]
    checks = judge_image(image, cuda=version, architectures=architectures, uid=uid)
    assert {check.name: check.found for check in failures(checks)} == named


SEEN = {
    "/input": "link to /mnt/case, 755, read only, empty",
    "/output": "777, writable, empty",
    "/tmp": "777, writable, empty",
    "/opt/ml": "755, read only, empty",
    "network": ["lo"],
    "capabilities": [0, 0],
    "no new privileges": 1,
    "memory": 16 * GIB,
    "memory and swap": 16 * GIB,
    "shared memory": 8 * GIB,
    "data segment": 15 * GIB,
    "processes": 256,
    "LOG_LEVEL": "INFO",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("/input", "755, read only, empty"),
        ("/output", "777, writable, images"),
        ("/tmp", "777, writable, cache"),
        ("/opt/ml", "no folder"),
        ("network", ["lo", "eth0"]),
        ("capabilities", [0, 0xA80425FB]),
        ("no new privileges", 0),
        ("memory", "max"),
        ("memory and swap", 32 * GIB),
        ("shared memory", 64 * 2**20),
        ("data segment", -1),
        ("processes", 4096),
        ("LOG_LEVEL", None),
    ],
)
def test_limit_that_a_container_does_not_see_is_named(name, value):
    assert failures(judge_limits(SEEN, LIMITS)) == []
    (check,) = failures(judge_limits({**SEEN, name: value}, LIMITS))
    assert (check.name, check.found) == (f"limit: {name}", f"{value}, expected {SEEN[name]}")
    (check,) = failures(judge_limits({key: kept for key, kept in SEEN.items() if key != name}, LIMITS))
    assert check.name == f"limit: {name}"


class Told:
    """In place of an engine: every container ends in the same way."""

    def __init__(self, outcome):
        self.outcome = outcome

    def run(self, *_):
        return self.outcome

    def empty(self, *_):
        pass


def test_first_rows_are_of_the_image_and_its_limits():
    told = {"uid": 10001, "cuda": None, "architectures": [], "limits": {**SEEN, "network": ["lo", "eth0"]}}
    engine = Told(Outcome(0, [(0.5, json.dumps(told).encode())]))
    image, limits = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert (image.name, failures(image.checks)) == ("image", [])
    assert image.remark == "user 10001:10001; architecture linux/amd64; api-method exec"
    assert (limits.name, limits.remark) == ("limits", "16 GiB, 8 shared, 15 data; 300 s a case")
    assert [check.name for check in failures(limits.checks)] == ["limit: network"]
    engine = Told(Outcome(127, stderr=b"sh: python: not found\n"))
    (row,) = Trial(engine, IMAGE, LIMITS, []).rows(())
    assert [(check.name, check.found) for check in failures(row.checks)] == [
        ("image has Python with torch", "sh: python: not found")
    ]


def test_processes_of_a_container_are_told_from_its_peak():
    assert peak_and_others("12345\n7 sleep 60 \n19 python -c x\n") == (12345, {7: "sleep 60", 19: "python -c x"})
    assert peak_and_others("7 sleep 60 \n") == (None, {7: "sleep 60"})
    assert peak_and_others("") == (None, {})


def test_warnings_of_an_engine_are_kept_once(tmp_path):
    engine = Engine(str(tmp_path / "engine"))
    Path(engine.command).write_text(
        "#!/bin/sh\necho id\necho 'WARNING: no swap limit' >&2\necho 'time=\"'$1'\" level=warning' >&2\nexit $2\n"
    )
    Path(engine.command).chmod(0o755)
    assert [engine("create", "0"), engine("start", "0")] == ["id\n", "id\n"]
    assert engine.warnings == ["WARNING: no swap limit", "level=warning"]
    with pytest.raises(RuntimeError, match="engine start: WARNING: no swap limit"):
        engine("start", "1")


def test_cases_are_what_their_names_say(tmp_path):
    found = {}
    for case in cases(Path(__file__).parent / "input", None):
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
        subprocess.run(pack, check=True, cwd=Path(__file__).parents[1])
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


def test_a_container_tells_what_it_sees():
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "trial/inside.py")], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert (told["uid"], told["limits"].keys()) == (os.getuid(), SEEN.keys())
    assert told["limits"]["/output"] in ("no folder", *(f"{mode}, writable, empty" for mode in ("755", "777")))
