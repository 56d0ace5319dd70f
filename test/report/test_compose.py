import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from swfastedit_core.errors import UserError
from swfastedit_core.report.compose import GUESS, BodySize, Origin, make_report
from swfastedit_core.report.record import Report, WeightsTerms
from swfastedit_core.report.table import columns, write_json, write_lesions_csv
from swfastedit_core.volume import Geometry, Volume

GRID = Geometry((30, 20, 10), (5.0, 5.0, 10.0), (-70.0, -40.0, -50.0))
LIVER_MM = (0.0, 0.0, 0.0)
ORIGIN = Origin(pet=Path("a.mha"), mask=Path("b.mha"), method="by hand")


def scan() -> tuple[Volume, np.ndarray]:
    """Return SUV 2, with a lesion of one voxel of SUV 10 and one of two voxels of SUV 6."""
    array, mask = np.full(GRID.shape_zyx, 2.0, np.float32), np.zeros(GRID.shape_zyx, np.uint8)
    array[1, 1, 1], array[9, 17, 25:27] = 10.0, 6.0
    mask[array > 2] = 1
    return Volume(array, GRID), mask


def report(**options: object) -> Report:
    pet, mask = scan()
    return make_report(pet, mask, ORIGIN, **{"liver_mm": LIVER_MM, **options})[0]


def test_totals_are_those_of_all_lesions() -> None:
    made = report(body=BodySize(height_cm=170, weight_kg=70))
    totals = made.totals

    assert totals.lesions == 2
    assert totals.mtv_ml == pytest.approx(0.75)
    assert totals.tlg_g == pytest.approx(0.25 * 10 + 0.5 * 6)
    assert totals.suv_max == 10.0
    centroids_mm, voxels_mm = np.hypot(np.hypot(24.5 * 5, 16 * 5), 80), np.hypot(np.hypot(25 * 5, 16 * 5), 80)
    assert totals.dmax_centroids_mm == pytest.approx(centroids_mm)
    assert totals.dmax_voxels_mm == pytest.approx(voxels_mm)
    assert made.body_surface_m2 == pytest.approx(1.810, abs=0.001)
    assert totals.sdmax_centroids_per_m == pytest.approx(centroids_mm / 1000 / made.body_surface_m2)
    assert totals.sdmax_voxels_per_m == pytest.approx(voxels_mm / 1000 / made.body_surface_m2)


def test_ratios_are_to_the_mean_of_the_liver() -> None:
    large, small = report().lesions

    assert (large.liver_ratio_max, large.liver_ratio_mean) == pytest.approx((3.0, 3.0))
    assert small.liver_ratio_max == pytest.approx(5.0)
    assert report().liver_note == ""


def test_given_liver_in_a_lesion_is_remarked() -> None:
    pet, mask = scan()
    mask[5, 8, 14] = 1  # the voxel at LIVER_MM

    assert make_report(pet, mask, ORIGIN, liver_mm=LIVER_MM)[0].liver_note.startswith("1 of the ")


def test_without_a_liver_and_without_lesions() -> None:
    pet, mask = scan()
    made, numbers = make_report(pet, np.zeros_like(mask), ORIGIN)

    assert made.liver is None
    assert made.liver_note.startswith("no liver reference was found: ")
    assert made.lesions == ()
    assert not numbers.any()
    totals = made.totals
    assert (totals.lesions, totals.mtv_ml, totals.tlg_g) == (0, 0, 0)
    assert (totals.suv_max, totals.dmax_centroids_mm, totals.dmax_voxels_mm) == (None, None, None)
    assert report(liver_mm=None).lesions[0].liver_ratio_max is None
    assert "check the place" in GUESS


def test_liver_sphere_beyond_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="right lobe"):
        report(liver_mm=(0.0, 0.0, 1000.0))


def test_no_ratio_to_a_liver_without_uptake() -> None:
    _, mask = scan()
    cold = Volume(np.where(mask, 5.0, 0.0).astype(np.float32), GRID)

    assert make_report(cold, mask, ORIGIN, liver_mm=LIVER_MM)[0].lesions[0].liver_ratio_max is None


def test_csv_has_a_row_for_each_lesion_with_units_in_the_header(tmp_path: Path) -> None:
    made = report()
    write_lesions_csv(made, tmp_path / "lesions.csv")
    rows = list(csv.DictReader((tmp_path / "lesions.csv").open(newline="")))

    assert list(rows[0]) == columns()
    assert columns()[:8] == ["pet", "number", "voxels", "volume_ml", "suv_max", "suv_mean", "suv_peak", "tlg_g"]
    assert [row["number"] for row in rows] == ["1", "2"]
    assert [float(row["suv_max"]) for row in rows] == [6.0, 10.0]
    assert (float(rows[1]["centroid_l_mm"]), float(rows[1]["centroid_s_mm"])) == (-65.0, -40.0)
    assert (rows[1]["box_start_x_voxel"], rows[1]["box_stop_z_voxel"]) == ("1", "2")
    assert float(rows[1]["box_high_p_mm"]) == -32.5
    write_lesions_csv(replace(made, lesions=()), tmp_path / "lesions.csv")
    assert (tmp_path / "lesions.csv").read_text() == ",".join(columns()) + "\n"


def test_csv_keeps_the_digits_of_tiny_voxels(tmp_path: Path) -> None:
    made = report()
    tiny = replace(made.lesions[0], volume_ml=0.4**3 / 1000, centroid_mm=(-1234.5678, -0.0, 1 / 3))
    write_lesions_csv(replace(made, lesions=(tiny,)), tmp_path / "lesions.csv")
    (row,) = csv.DictReader((tmp_path / "lesions.csv").open(newline=""))

    assert float(row["volume_ml"]) == pytest.approx(6.4e-5)
    assert [row[f"centroid_{axis}_mm"] for axis in "lps"] == ["-1234.568", "0.0", "0.3333333"]


def test_json_has_all_of_a_report_and_the_definitions(tmp_path: Path) -> None:
    terms = WeightsTerms(source="<script>.safetensors", licence="CC BY", attribution="Ä", demonstration=True)
    made = replace(report(liver_mm=None), weights=(terms,), warnings=("odd",))
    write_json(made, tmp_path / "report.json")
    values = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)

    assert set(values) == {one.name for one in fields(Report)} | {"definitions"}
    assert (values["pet"], values["liver"], values["body_surface_m2"]) == ("a.mha", None, None)
    assert values["lesions"][0]["box"] == {"start": [25, 17, 9], "stop": [27, 18, 10]}
    assert values["lesions"][0]["liver_ratio_max"] is None
    assert values["weights"][0]["attribution"] == "Ä"
    assert "IBSI global intensity peak 0F91, 1 ml" in values["definitions"]["suv_peak"]
    assert values["created"][-6] in "+-"  # the time zone


def test_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"report\.json: cannot be written"):
        write_json(report(), tmp_path / "file" / "report.json")
