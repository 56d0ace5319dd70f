"""The real program, started as the platform and users start it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from places import ROOT
from program import MASKS, assert_failed, assert_is_mask_of_the_scan, files, finished, reports, scan, start, stopped

from swfastedit_core.checkpoint import read_checkpoint, write_checkpoint

BEFORE = {"start", "load"}
STAGES = BEFORE | {"read", "prepare", "plan", "compile", "network", "restore", "write", "total"}
REPORT = {
    "pet", "output", "engine", "device", "precision", "weights", "demonstration", "windows", "windows_full_grid",
    "seconds", "peak_memory_mb", "lesion_voxels", "lesion_volume_ml", "warnings",
}  # fmt: skip


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
    network = read_checkpoint(weights / "1.safetensors")
    demonstration = replace(network, config=replace(network.config, demonstration=True))
    write_checkpoint(demonstration, top / "demo/1.safetensors")
    done = finished("--input", top / "input", "--output", top / "out", "--weights", top / "demo")
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
    assert first["pet"] == str(top / "input/images/pet/8d3f.mha")
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


def test_progress_and_notice_are_on_stdout(platform):
    _, done = platform
    assert "notice: these are demonstration weights" in done.stdout
    for name, report in zip(("8d3f.mha", "ünïcode name.mha"), reports(done), strict=True):
        assert f"\n{name}: {report['windows']} of {report['windows']} windows\n" in done.stdout


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
        (
            "ModuleNotFoundError('torch', name='torch')",
            "the package 'torch' is missing; start with ./run.sh, which installs it, or",
        ),
        ("OSError('libcudart.so: file too short')", "unexpected OSError: libcudart.so: file too short"),
    ],
)
def test_missing_or_broken_package_fails_in_one_line(raised, words, tmp_path, weights):
    (tmp_path / "torch.py").write_text(f"raise {raised}")
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    options = ("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    done = finished(*options, before=("env", f"PYTHONPATH={tmp_path}"))
    assert_failed(done, words)
    assert ("Traceback" in done.stdout) == done.stderr.endswith("; standard output has the details\n")
    assert ("Traceback" in done.stdout) == words.startswith("unexpected")
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
    ended, _, err, seconds = stopped(process, sent)
    assert (ended, err) == (code, reason)
    assert seconds < 3
    assert files(tmp_path) == [Path("scan.mha")]
    assert not (tmp_path / "out").exists()


def deleted(command, folder):
    """Run a command in a folder that was deleted."""
    folder.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        (ROOT / "process.py", "--input", ROOT / "test/input", "--output", "/nonexistent"),
        ("-m", "swfastedit_core.train", "--output", "run", "--data", "phantom"),
        ("-m", "swfastedit_core.checkpoint", "show", ROOT / "weights/demo.safetensors"),
        ("-m", "swfastedit_core.phantom", "--output", "phantoms"),
    ],
)
def test_deleted_working_directory_is_told_in_one_line(command, tmp_path):
    done = deleted([sys.executable, *command], tmp_path / "gone")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "the working directory cannot be used (No such file or directory); was it deleted? change to another folder\n"
    )


@pytest.mark.parametrize("script", ["run.sh", "test.sh", "build.sh", "export.sh"])
def test_script_in_a_deleted_working_directory_says_so(script, tmp_path):
    done = deleted([ROOT / script], tmp_path / "gone")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("shell-init")]  # bash's own
    assert (done.returncode, done.stdout) == (1, "")
    assert lines == ["the working directory cannot be used; was it deleted? change to another folder"]


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
        "import gc; from swfastedit_core.system.garbage import collection_paused\n"
        "with collection_paused(): assert not gc.isenabled()\n"
        "assert gc.isenabled() and gc.get_freeze_count()"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
