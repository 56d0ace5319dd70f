"""The real program, started as the platform and users start it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from places import ROOT

from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

MASKS = Path("images/automated-petct-lesion-segmentation")
SIZE_XYZ, SPACING_MM, ORIGIN_MM = (40, 36, 30), (4.0, 4.0, 4.5), (-80.0, 12.5, -300.0)
DIRECTION = (0, -1, 0, -1, 0, 0, 0, 0, 1)  # left-handed
CONFIG = CheckpointConfig(
    NetworkConfig("dynunet", (2,) * 6), Preprocessing((4.0, 4.0, 4.0)), window=(32, 32, 32), demonstration=True
)
BEFORE = {"start", "load"}
STAGES = BEFORE | {"read", "prepare", "plan", "compile", "network", "restore", "write", "total"}
REPORT = {
    "output", "engine", "device", "precision", "weights", "demonstration", "windows", "windows_full_grid", "seconds",
    "peak_memory_mb", "lesion_voxels", "lesion_volume_ml", "warnings",
}  # fmt: skip


def scan(array=None):
    """Make a warm body with a hot ball, or the given values, on a left-handed grid."""
    if array is None:
        z, y, x = np.indices(SIZE_XYZ[::-1])
        array = 1.0 * ((np.abs(x - 20) < 15) & (np.abs(y - 18) < 12))
        array += 8.0 * ((x - 14) ** 2 + (y - 18) ** 2 + (z - 15) ** 2 < 20)
    image = sitk.GetImageFromArray(np.asarray(array, np.float32))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    image.SetDirection(DIRECTION)
    return image


def start(*arguments, before=(), out=subprocess.PIPE, err=subprocess.PIPE):
    command = [*before, sys.executable, str(ROOT / "process.py"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads wait for each other on a busy machine
    return subprocess.Popen(command, stdout=out, stderr=err, text=True, encoding="utf-8", env=environment)


def finished(*arguments, **more):
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def reports(done):
    """Return the JSON objects that a successful run printed."""
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())


def assert_is_mask_of_the_scan(path):
    mask = sitk.ReadImage(str(path))
    assert mask.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    assert mask.GetSize() == SIZE_XYZ
    np.testing.assert_allclose(mask.GetSpacing(), SPACING_MM)
    np.testing.assert_allclose(mask.GetOrigin(), ORIGIN_MM)
    np.testing.assert_allclose(mask.GetDirection(), DIRECTION)
    array = sitk.GetArrayFromImage(mask)
    assert set(np.unique(array)) <= {0, 1}
    return array


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write a folder of two small random networks; both mark some voxels and not all."""
    folder = tmp_path_factory.mktemp("weights")
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = build_network(CONFIG.network).state_dict()
        write_checkpoint(Checkpoint(folder, CONFIG, state), folder / f"{seed}.safetensors")
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory, weights):
    """Run once as the platform does: two scans in the input folder, an empty output folder."""
    top = tmp_path_factory.mktemp("case")
    (top / "in/images/pet").mkdir(parents=True)
    for name in ("8d3f.mha", "ünïcode name.mha"):
        sitk.WriteImage(scan(), str(top / "in/images/pet" / name), True)
    (top / "in/images/pet/notes.txt").touch()
    (top / "out").mkdir()
    (top / "input").symlink_to(top / "in")
    done = finished("--input", top / "input", "--output", top / "out", "--weights", weights / "1.safetensors")
    return top, done


def test_platform_run_writes_one_mask_for_each_scan(platform):
    top, done = platform
    reports(done)
    assert files(top / "out") == [MASKS / "8d3f.mha", MASKS / "ünïcode name.mha"]
    for name in files(top / "out"):
        array = assert_is_mask_of_the_scan(top / "out" / name)
        assert 0 < array.sum() < array.size


def test_last_line_is_a_report_of_the_scan(platform):
    top, done = platform
    first, second = reports(done)
    assert json.loads(done.stdout.splitlines()[-1]) == second
    assert set(first) == set(second) == REPORT
    assert first["output"] == str(top / "out" / MASKS / "8d3f.mha")
    array = assert_is_mask_of_the_scan(first["output"])
    assert first["lesion_voxels"] == array.sum()
    assert first["lesion_volume_ml"] == pytest.approx(array.sum() * 0.072, abs=1e-3)
    assert (first["engine"], first["demonstration"], first["warnings"]) == ("openvino", True, [])
    assert first["weights"][0].endswith("1.safetensors")
    # network grid 36 × 40 × 34 (x and y swap), windows of 32 in steps of 8: 2 × 2 × 2 over the whole volume
    assert first["windows_full_grid"] == 8
    assert 1 <= first["windows"] <= 8
    assert set(first["seconds"]) == STAGES
    parts = sum(first["seconds"][stage] for stage in STAGES - {"total"} - BEFORE)
    assert parts == pytest.approx(first["seconds"]["total"], abs=0.3)
    assert 50 < first["peak_memory_mb"] < 5000


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
    assert f"notice: {clicks}: 1 click(s) not used, the network takes none\n" in done.stdout


def test_a_single_file_is_taken_by_an_image_that_is_built_for_calls(tmp_path, weights, run):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    done = run(
        *("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors"),
        baked_in="--api-method invoke --data-centric true",
    )
    assert reports(done)[0]["output"] == str(tmp_path / "out/scan.mha")
    assert files(tmp_path / "out") == [Path("scan.mha")]


def test_progress_and_notice_are_on_stdout(platform):
    _, done = platform
    assert "notice: these are demonstration weights" in done.stdout
    for name, report in zip(("8d3f.mha", "ünïcode name.mha"), reports(done), strict=True):
        assert f"\n{name}: {report['windows']} of {report['windows']} windows\n" in done.stdout


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


def test_terminal_shows_a_bar(tmp_path, weights):
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    pet = tmp_path / "scan.mha"
    sitk.WriteImage(scan(), str(pet))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    options = ("--pet", pet, "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    process = start(*options, out=slave, err=slave)
    os.close(slave)
    shown = b""
    try:
        while block := os.read(master, 4096):
            shown += block
    except OSError:  # the terminal's other end is closed
        pass
    assert process.wait() == 0
    assert b"scan.mha: 100%|" in shown
    assert json.loads(shown.decode().splitlines()[-1])["lesion_voxels"] > 0


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
    array = np.ones((12, 12, 12))
    array[0, 0, 0], array[1, 1, 1] = np.nan, 5000
    sitk.WriteImage(scan(array), str(tmp_path / "scan.mha"))
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    (report,) = reports(done)
    assert [("1 voxels were not finite" in w, "Bq/ml" in w) for w in report["warnings"]] == [
        (True, False),
        (False, True),
    ]
    assert done.stdout.count("warning: ") == 2


def spoil(path):
    """Cut a file in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_array(kind):
    """Return voxels, or a shape of them, that cannot be used."""
    if kind == "nan":
        return scan(np.full((9, 9, 9), np.nan))
    return sitk.GetImageFromArray(np.zeros({"2-D": (9, 9), "4-D": (2, 9, 9, 9)}[kind], np.float32), isVector=False)


CONTENTS = {
    "empty": b"",
    "text": b"not an image",
    "noise in the header": b"ObjectType = Image\nNDims = 3\nOffset = 1e400 0 0\nElementDataFile = LOCAL\n",
}
EDITS = {
    "sheared": (b"TransformMatrix = 0 -1 0", b"TransformMatrix = 1 -1 0"),
    "huge": (b"DimSize = 40 36 30", b"DimSize = 4000 3600 3000"),
    "spacing": (b"ElementSpacing = 4 4 4.5", b"ElementSpacing = 4 0 4.5"),
}


def bad_scan(folder, kind):
    """Write a scan that cannot be used; return its path."""
    path = folder / ("scan.dcm" if kind == "type" else "scan.mha")
    if kind in ("nan", "2-D", "4-D"):
        sitk.WriteImage(bad_array(kind), str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind in CONTENTS:
        path.write_bytes(CONTENTS[kind])
    elif kind != "missing":
        sitk.WriteImage(scan(), str(folder / "scan.mha"), "compressed" in kind)
        content = (folder / "scan.mha").read_bytes()
        if kind in EDITS:
            assert EDITS[kind][0] in content
            content = content.replace(*EDITS[kind])
        elif kind == "compressed flipped":
            content = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]  # in the checksum: all voxels unpack
        elif kind != "type":
            content = content[: len(content) // 2]
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "the file is empty"),
        ("text", "the header cannot be read"),
        ("folder", "is not a file"),
        ("noise in the header", "the header says DimSize = nothing"),
        ("type", "unknown file type, expected one of .mha .nii.gz .nii .nrrd"),
        ("2-D", "2 dimensions (9×9), expected three"),
        ("4-D", "4 dimensions (9×9×9×2), expected three"),
        ("spacing", "spacing"),
        ("sheared", "not orthonormal"),
        ("huge", "the limit is 4"),
        ("truncated", "truncated"),
        ("compressed truncated", "truncated"),
        ("compressed flipped", "the compressed voxel data is damaged"),
        ("nan", "not finite"),
    ],
)
def test_unusable_scan_fails_in_one_line_and_writes_nothing(kind, words, tmp_path, weights, run):
    path = bad_scan(tmp_path, kind)
    done = run("--pet", path, "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    assert_failed(done, str(path), words)
    assert not (tmp_path / "out").exists()


def test_damaged_scan_among_others_fails_and_leaves_whole_masks_only(tmp_path, weights, run):
    (tmp_path / "images/pet").mkdir(parents=True)
    for name in ("1.mha", "2.mha"):
        sitk.WriteImage(scan(), str(tmp_path / "images/pet" / name))
    spoil(tmp_path / "images/pet/2.mha")
    done = run("--input", tmp_path, "--output", tmp_path / "out", "--weights", weights / "1.safetensors", "--quiet")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'images/pet/2.mha'}: truncated, ")
    assert done.stderr.count("\n") == 1
    assert [json.loads(line)["output"] for line in done.stdout.splitlines()] == [
        str(tmp_path / "out" / MASKS / "1.mha")
    ]
    assert files(tmp_path / "out") == [MASKS / "1.mha"]
    assert_is_mask_of_the_scan(tmp_path / "out" / MASKS / "1.mha")


def test_wrong_header_among_scans_is_refused_before_any_of_them_is_processed(tmp_path, run):
    (tmp_path / "images/pet").mkdir(parents=True)
    sitk.WriteImage(scan(), str(tmp_path / "images/pet/1.mha"))
    bad_scan(tmp_path / "images/pet", "empty").rename(tmp_path / "images/pet/2.mha")
    done = run("--input", tmp_path, "--output", tmp_path / "out", "--weights", tmp_path / "not looked at")
    assert_failed(done, f"{tmp_path / 'images/pet/2.mha'}: the file is empty")
    assert not (tmp_path / "out").exists()


def test_mask_that_cannot_be_put_in_place_leaves_nothing(tmp_path, weights, run):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    (tmp_path / "out/scan.mha").mkdir(parents=True)  # a folder of the mask's name
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    assert_failed(done, f"{tmp_path / 'out/scan.mha'}: is a folder, expected the name of a file to write")
    assert files(tmp_path) == [Path("scan.mha")]


def assert_failed(done, *words):
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "{nowhere}"], "no such file or folder"),
        (["--weights", "{empty}"], "the folder holds no weights"),
        (["--weights", "{damaged}"], "not a readable .safetensors file"),
        (["--weights", "{clicks}"], "takes 3 channels"),
        (["--device", "tpu"], "expected auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "use --device cpu or auto"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
        (["--precision", "float16", "--device", "cpu"], "float16"),
        (["--overlap", "1"], "--overlap 1.0, expected 0 or more and less than 1"),
        (["--overlap", "nan"], "--overlap nan"),
        (["--window-batch", "0"], "--window-batch 0, expected 1 or more"),
        (["--window-batch", "many"], "invalid int value"),
        (["--min-lesion-ml", "-1"], "--min-lesion-ml -1.0"),
        (["--region", "head"], "invalid choice: 'head'"),
        (["--input", "{empty}"], "not allowed with argument"),
        (["--api-method", "invoke"], "--pet is one file, without the platform's folders"),
        (["--data-centric", "true"], "--pet is one file, without the platform's folders"),
        (["--data-centric", "yes"], "invalid choice: 'yes'"),
        (["--task", "autopet9"], "invalid choice: 'autopet9'"),
        (["--port", "0"], "--port 0, expected 1 to 65535"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; see process.py --help"),
        (["--output", "{file}/out"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", "{file}"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", "{link}/out"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", ""], "an empty name, expected a file or folder"),
        (["--weights", "{pipe}"], "is not a file or folder, expected weights"),
        (["--weights", "{good}", "--weights", "{good}"], "these weights are given twice"),
        (["--output", "{here}"], "the mask would replace the scan"),
    ],
)
def test_wrong_command_line_fails_in_one_line_and_writes_nothing(arguments, words, tmp_path, weights, run):
    places = {name: tmp_path / name for name in ("nowhere", "empty", "file", "link", "pipe", "damaged", "clicks")}
    places["good"] = weights / "1.safetensors"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    pet = tmp_path / "here" / "scan.mha"
    pet.parent.mkdir()
    sitk.WriteImage(scan(), str(pet))
    places["here"] = pet.parent
    places["damaged"] = tmp_path / "damaged.safetensors"
    places["damaged"].write_bytes((weights / "1.safetensors").read_bytes())
    spoil(places["damaged"])
    if "{clicks}" in arguments:
        network = NetworkConfig("dynunet", (2,) * 6, in_channels=3)
        config = replace(CONFIG, network=network, channels=Channels.PET_CLICKS)
        places["clicks"] = tmp_path / "clicks.safetensors"
        write_checkpoint(Checkpoint(tmp_path, config, build_network(network).state_dict()), places["clicks"])
    before = files(tmp_path)
    given = [argument.format(**places) for argument in arguments]
    common = ["--pet", pet, "--output", tmp_path / "out"] if "--output" not in given else ["--pet", pet]
    if "--weights" not in given:
        common += ["--weights", weights / "1.safetensors"]
    assert_failed(run(*common, *given), words)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_wrong_options_of_an_image_fail_in_one_line(tmp_path, run):
    assert_failed(run(baked_in="--region 'full"), "SWFASTEDIT_OPTIONS: No closing quotation")
    assert_failed(run(baked_in="--region head"), "invalid choice: 'head'")


def test_folder_without_permission_is_refused_before_the_work(tmp_path, weights, without_rights):
    (tmp_path / "locked").mkdir(mode=0o555)
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "locked/out", "--weights", weights)
    done = finished(*options, before=without_rights)
    assert_failed(done, f"{tmp_path / 'locked'}: scan.mha cannot be written there (Permission denied); choose another")
    assert files(tmp_path) == [Path("scan.mha")]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        ("ModuleNotFoundError('torch', name='torch')", "the package 'torch' is missing; start with ./run.sh"),
        ("OSError('libcudart.so: file too short')", "unexpected OSError: libcudart.so: file too short"),
    ],
)
def test_missing_or_broken_package_fails_in_one_line(raised, words, tmp_path, weights):
    (tmp_path / "torch.py").write_text(f"raise {raised}")
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    assert_failed(finished(*options, before=("env", f"PYTHONPATH={tmp_path}")), words)
    assert not (tmp_path / "out").exists()


FULL = "standard output cannot be written (No space left on device)\n"
CLOSED = "standard output cannot be written (Broken pipe)\n"


def full_disk():
    return Path("/dev/full").open("w")


def closed_pipe():
    """Return the writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(("stream", "reason"), [(full_disk, FULL), (closed_pipe, CLOSED)], ids=["full", "closed"])
def test_full_or_closed_standard_output_is_a_failure_of_one_line(
    stream, reason, quiet, tmp_path, weights, run, monkeypatch
):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights, *quiet)
    with stream() as out:
        monkeypatch.setattr(sys, "stdout", out)
        done = run(*options)
    assert (done.returncode, done.stderr) == (1, reason)
    assert {path.name for path in files(tmp_path)} <= {"scan.mha"}  # and a mask, if there is one, is whole


def test_program_ends_with_1_when_its_standard_output_is_full_or_closed(tmp_path, weights):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    with full_disk() as full:
        done = finished(*options, out=full)
    assert (done.returncode, done.stderr) == (1, FULL)
    with closed_pipe() as closed:
        done = finished(*options, "--quiet", out=closed)
    assert (done.returncode, done.stderr) == (1, CLOSED)


def test_closed_streams_do_not_become_the_files_that_are_opened_next(tmp_path, weights):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    done = finished(*options, before=("sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert assert_is_mask_of_the_scan(tmp_path / "out/scan.mha").any()


def test_links_in_a_circle_are_no_file(tmp_path, weights, run):
    (tmp_path / "scan.mha").symlink_to("scan.mha")
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    assert_failed(done, "scan.mha: no such file")


def test_scan_of_absurd_extent_is_refused_before_memory_is_asked_for(tmp_path, weights, run):
    image = scan()
    image.SetSpacing((900.0, 900.0, 900.0))
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    assert_failed(done, "the scan measures 32.4 × 36 × 27 m by its header", "expected 1.07e+09 at most")


def test_input_folder_without_a_scan_fails(tmp_path, run):
    assert_failed(run("--input", tmp_path, "--output", tmp_path / "out"), "no such folder, expected the PET there")
    (tmp_path / "images/pet").mkdir(parents=True)
    (tmp_path / "images/pet/scan.nii.gz").touch()
    done = run("--input", tmp_path, "--output", tmp_path / "out")
    assert_failed(done, "found scan.nii.gz, expected one .mha file")
    assert_failed(run("--pet", tmp_path / "scan.mha"), "--pet needs --output DIR")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (signal.SIGTERM, 143, "ended by SIGTERM\n"),
        (signal.SIGHUP, 129, "ended by SIGHUP\n"),
        (signal.SIGINT, 130, "interrupted\n"),
    ],
)
def test_interrupted_run_ends_at_once_and_leaves_nothing(sent, code, reason, tmp_path, weights):
    geometry = np.ones((200, 150, 150), np.float32)  # some thousand windows
    sitk.WriteImage(scan(geometry), str(tmp_path / "scan.mha"))
    process = start(
        *("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out"),
        *("--weights", weights / "1.safetensors", "--region", "full", "--device", "cpu"),
    )
    for line in process.stdout:
        if "windows" in line:  # it is at work
            break
    process.send_signal(sent)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, reason)
    assert time.monotonic() - begin < 10
    assert files(tmp_path) == [Path("scan.mha")]
    assert not (tmp_path / "out").exists()


def test_libraries_start_no_more_threads_than_there_are_processors_for():
    code = (
        "import torch, SimpleITK; from swfastedit_core.system import processors as cpus;"
        "cpus.available_cpus = lambda: 1; cpus.limit_threads();"
        "print(torch.get_num_threads(), SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1\n"


def test_garbage_is_looked_for_again_once_the_networks_are_loaded():
    code = (
        "import gc, process\n"
        "with process.without_collection(): assert not gc.isenabled()\n"
        "assert gc.isenabled() and gc.get_freeze_count()"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
