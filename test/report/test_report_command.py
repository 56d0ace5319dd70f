"""python -m swfastedit_core.report: files in, files out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from swfastedit_core.files.write import write_volume
from swfastedit_core.labels.axes import Turn, turn_volume
from swfastedit_core.report.__main__ import main
from swfastedit_core.report.files import FILES
from swfastedit_core.volume import Geometry, Volume

GRID = Geometry((30, 24, 20), (5.0, 5.0, 6.0), (-70.0, -60.0, -50.0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write pet.mha and mask.nii.gz in the working directory, the mask with other axes and the values 1, 2, 7."""
    monkeypatch.chdir(tmp_path)
    array, labels = np.full(GRID.shape_zyx, 2.0, np.float32), np.zeros(GRID.shape_zyx, np.uint8)
    for value, z, y, x in ((1, slice(2, 5), slice(3, 6), slice(4, 8)), (2, slice(10, 12), 5, 20), (7, 18, 20, 27)):
        array[z, y, x], labels[z, y, x] = 5.0 + value, value
    write_volume(Volume(array, GRID), "pet.mha")
    write_volume(turn_volume(Volume(labels, GRID), Turn((2, 0, 1), (True, False, True))), "mask.nii.gz")
    return tmp_path


def run(*more: str) -> int:
    return main(["--pet", "pet.mha", "--mask", "mask.nii.gz", "--output", "out", *more])


def refusal(capfd: pytest.CaptureFixture[str], *more: str) -> str:
    """Run a command line that must fail; return the reason."""
    assert run(*more) == 1
    (line,) = capfd.readouterr().err.splitlines()
    return line


def lesions(name: str = "out") -> list[dict[str, str]]:
    with Path(name, "lesions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_files_are_written_for_a_mask_with_other_axes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--method", "by <hand>", "--liver=0,0,0") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == "out/report.html: lesions: 3, MTV 5.8 ml, TLG 36.3 g"
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(FILES)
    assert [(row["voxels"], row["suv_max"]) for row in lesions()] == [("36", "6.0"), ("2", "7.0"), ("1", "12.0")]
    values = json.loads(Path("out/report.json").read_text())
    assert (values["method"], values["liver"]["guessed"], values["liver"]["suv_mean"]) == ("by <hand>", False, 2.0)
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "by &lt;hand&gt;" in page
    assert "<hand>" not in page


def test_lesion_labels_and_small_lesions(folder: Path) -> None:
    assert run("--lesion-labels", "1", "7", "--min-lesion-ml", "0.2") == 0
    assert [row["suv_max"] for row in lesions()] == ["6.0"]
    values = json.loads(Path("out/report.json").read_text())
    assert values["method"] == "not given (--method); components smaller than 0.2 ml left out"
    assert run("--lesion-labels", "7") == 0  # an older report is replaced
    assert [row["suv_max"] for row in lesions()] == ["12.0"]


def test_height_and_weight_give_sdmax(folder: Path) -> None:
    assert run("--height-cm", "170", "--weight-kg", "70") == 0
    values = json.loads(Path("out/report.json").read_text())
    assert values["totals"]["sdmax_voxels_per_m"] == pytest.approx(
        values["totals"]["dmax_voxels_mm"] / 1000 / values["body_surface_m2"]
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--liver", "1,2"), "three numbers such as -80,10,-400"),
        (("--liver=0,0,900",), "give a point in the right lobe"),
        (("--suv-window", "7", "7"), "the lower one first"),
        (("--suv-window", "0", "inf"), "the lower one first"),
        (("--height-cm", "170"), "belong together"),
        (("--height-cm", "1.7", "--weight-kg", "70"), "expected 30 to 260 cm"),
        (("--min-lesion-ml", "-1"), "expected 0 or more"),
        (("--lesion-labels", "3"), "no voxel of --lesion-labels 3; its values: 1, 2, 7"),
        (("--mask", "pet.mha", "--lesion-labels", "2", "--pet", "no.mha"), "no such file"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(
    folder: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    assert reason in refusal(capfd, *options)
    assert not (folder / "out").exists()


def test_mask_on_another_grid_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    moved = Geometry(GRID.size_xyz, GRID.spacing_mm, (-68.0, -60.0, -50.0))
    write_volume(Volume(np.ones(moved.shape_zyx, np.uint8), moved), "other.mha")

    line = refusal(capfd, "--mask", "other.mha")

    assert line.startswith("other.mha: the mask's grid, 30×24×20 voxels of 5×5×6 mm from (-68.00,")
    assert line.endswith("resample the mask to the PET's voxels, or give the PET that it was made on")


def test_files_of_others_are_not_replaced(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "report.html").write_text("mine")

    assert "out/report.html: the file exists" in refusal(capfd)
    assert (folder / "out" / "report.html").read_text() == "mine"
    assert run("--overwrite") == 0
    assert (folder / "out" / "report.html").read_text() != "mine"


def test_empty_mask_and_doubtful_scan(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    array = np.full(GRID.shape_zyx, 2.0, np.float32)
    array[3, 3, 3] = np.nan
    write_volume(Volume(array, GRID), "pet.mha")
    write_volume(Volume(np.zeros(GRID.shape_zyx, np.uint8), GRID), "empty.mha")

    assert run("--mask", "empty.mha") == 0
    assert "warning: pet.mha: 1 voxels were not finite numbers" in capfd.readouterr().out
    values = json.loads(Path("out/report.json").read_text())
    assert (values["lesions"], values["totals"]["dmax_voxels_mm"]) == ([], None)
    assert any("not finite" in warning for warning in values["warnings"])
    assert lesions() == []


def test_the_program_runs_without_matplotlib(folder: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from swfastedit_core.report.__main__ import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ("--pet", "pet.mha", "--mask", "mask.nii.gz", "--output", "out")
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "out" / "report.html").is_file()
