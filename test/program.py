"""`process.py`, run by tests: a scan for it, a start of it, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk
import torch
from places import ROOT

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

MASKS = Path("images/automated-petct-lesion-segmentation")
SIZE_XYZ, SPACING_MM, ORIGIN_MM = (40, 36, 30), (4.0, 4.0, 4.5), (-80.0, 12.5, -300.0)
DIRECTION = (0, -1, 0, -1, 0, 0, 0, 0, 1)  # left-handed
CONFIG = CheckpointConfig(NetworkConfig("dynunet", (2,) * 6), Preprocessing((4.0, 4.0, 4.0)), window=(32, 32, 32))


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


def stopped(process, sent):
    """Send a signal to a program that was started.

    Returns exit code, streams, and the processor time in seconds from the signal to the end: other programs that keep
    the machine busy do not count.
    """
    supervisor = psutil.Process(process.pid)
    spent = [one.cpu_times() for one in (supervisor, *supervisor.children(recursive=True))]
    before = os.times()
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    after = os.times()
    whole = after.children_user + after.children_system - before.children_user - before.children_system
    return process.returncode, out, err, whole - sum(times.user + times.system for times in spent)


def reports(done):
    """Return the JSON objects that a successful run printed."""
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())


def spoil(path):
    """Cut a file in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


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


def assert_failed(done, *words):
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("{")]


def write_two_networks(folder):
    """Write two small random networks into a folder; both mark some voxels and not all."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = build_network(CONFIG.network).state_dict()
        write_checkpoint(Checkpoint(folder, CONFIG, state), folder / f"{seed}.safetensors")
    return folder
