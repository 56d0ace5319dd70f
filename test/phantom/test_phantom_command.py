"""The command writes the same bytes every time, and whole files only."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from places import ROOT

from swfastedit_core.files.read import read_label, read_volume
from swfastedit_core.phantom.__main__ import main
from swfastedit_core.train.data.sources import find_sources
from swfastedit_core.train.data.survey import examine


def start_cli(*arguments: str, threads: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "swfastedit_core.phantom", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_processes_with_different_threads_write_the_same_bytes(tmp_path: Path) -> None:
    options = ("--cases", "2", "--seed", "3", "--spacing", "7", "7", "7", "--output")
    running = [start_cli(*options, str(tmp_path / name), threads=n) for name, n in (("one", 1), ("two", 2))]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    first, second = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert first == second
    assert sorted(first) == [
        f"{folder}/phantom_3_000{case}.nii.gz" for folder in ("imagesTr", "labelsTr") for case in (0, 1)
    ]
    assert len(set(first.values())) == 4


def test_command_writes_pairs_on_one_grid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--cases", "1", "--seed", "8", "--spacing", "6", "6", "5", "--lesions", "4", "--format", "mha"]
    assert main([*options, "--output", str(tmp_path)]) == 0
    assert capfd.readouterr().out.startswith("phantom_8_0000.mha lesions: 4, ")
    image = read_volume(tmp_path / "imagesTr" / "phantom_8_0000.mha")
    label = read_label(tmp_path / "labelsTr" / "phantom_8_0000.mha")
    assert image.geometry == label.geometry
    assert image.geometry.spacing_mm == (6.0, 6.0, 5.0)
    assert set(np.unique(label.array_zyx)) == {0.0, 1.0}
    assert main([*options, "--output", str(tmp_path)]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "holds files already" in error


def test_command_prints_the_volume_of_the_label_as_the_survey_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--cases", "2", "--seed", "8", "--spacing", "8", "8", "8", "--lesions", "3", "--format", "mha"]
    assert main([*options, "--output", str(tmp_path)]) == 0
    printed = [float(line.split()[-2]) for line in capfd.readouterr().out.splitlines()]
    sources = find_sources(f"images:{tmp_path}", seed=0)
    surveyed = [examine(source, spacing_mm=(8.0, 8.0, 8.0), with_ct=False).lesion_ml for source in sources]
    assert printed == [round(lesion_ml, 1) for lesion_ml in surveyed]
    label = read_label(tmp_path / "labelsTr" / "phantom_8_0001.mha").array_zyx
    assert printed[1] == round(np.count_nonzero(label) * 0.512, 1) > 0


def test_command_writes_a_picture_of_all_patients(tmp_path: Path) -> None:
    """Five patients: two rows, of which the second holds one; every lesion is outlined in red."""
    picture = tmp_path / "new" / "phantoms.png"
    options = ["--cases", "5", "--seed", "8", "--spacing", "12", "12", "12", "--lesions", "2"]
    assert main([*options, "--picture", str(picture)]) == 0
    rgb = matplotlib.image.imread(picture)[..., :3]
    height, width, _ = rgb.shape
    assert width / height == pytest.approx(4 * 2.7 / (2 * 4.1), rel=0.01)
    red = (rgb[..., 0] > 0.6) & (rgb[..., 1:] < 0.6).all(axis=-1)
    panels = [part.any() for row in np.split(red[: height // 2 * 2], 2) for part in np.array_split(row, 4, axis=1)]
    assert panels == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "nothing to write"),
        (("--output", "unused", "--cases", "0"), "--cases 0: expected 1"),
        (("--output", "unused", "--seed", "-1"), "--seed -1: expected 0 or more"),
        (("--output", "unused", "--lesions", "31"), "--lesions 31: expected 0 to 30"),
        (("--output", "unused", "--spacing", "0", "4", "4"), "--spacing 0.0 4.0 4.0"),
        (("--output", "unused", "--cases", "few"), "invalid int value: 'few'"),
        (("--output", ""), "an empty name, expected a file or folder"),
        (("--picture", "unused"), "--picture unused: expected a name that ends in .png"),
        (("--picture", "/proc/picture.png"), "/proc: picture.png cannot be written there"),
    ],
)
def test_command_refuses_in_one_line(
    arguments: tuple[str, ...], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capfd.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("sent", "reason"), [(signal.SIGTERM, "ended by SIGTERM\n"), (signal.SIGINT, "interrupted\n")])
def test_interrupted_command_leaves_whole_files_only(sent: signal.Signals, reason: str, tmp_path: Path) -> None:
    process = start_cli("--cases", "50", "--output", str(tmp_path / "set"), "--spacing", "8", "8", "8")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("phantom_0_0000")
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + sent, reason)
    for path in (tmp_path / "set").rglob("*.nii.gz"):
        assert path.name.startswith("phantom_0_")
        assert read_label(path).array_zyx.size
