from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from example_report import display_of, example_report, page_of, scan_with_balls

from swfastedit_core import UserError, Volume
from swfastedit_core.report.page import report_page as page_module
from swfastedit_core.report.page.columns import point_text, time_text, volume_text
from swfastedit_core.report.page.report_page import write_page
from swfastedit_core.report.pictures.mip_picture import LINE, draw_mip

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&"
BALLS = ((45, 12, 38, 4), (15, 26, 12, 3), (30, 20, 25, 2))


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of the rows of its table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._in_cell = self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th") or (self._in_cell and tag == "span")
        self._in_script = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")
        self._in_script = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data
        if not self._in_script:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def scan():
    return scan_with_balls(*BALLS)


@pytest.fixture(scope="module")
def text(scan):
    return page_of(example_report(*scan), *scan)


def test_table_has_a_row_for_each_lesion_with_its_figures(scan, text):
    page, report = Page(text), example_report(*scan)
    heading, *rows = page.rows
    assert heading[:3] == ["No.", "MTV ml", "SUVmax"]
    assert heading[-2:] == ["SUVmax / liver (guess)", "SUVmean / liver (guess)"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert sum(float(row[1]) for row in rows) == pytest.approx(report.totals.mtv_ml, abs=0.1)
    assert rows[0][2] == "8.00"
    assert rows[0][9] == point_text(report.lesions[0].centroid_mm) == "52 L, 32 A, 675 I"
    assert rows[0][10] == "3.81"  # 8 / 2.1
    assert all(len(row) == len(heading) for row in rows)
    assert [a["data-lesion"] for a in page.of("tr") if "data-lesion" in a] == ["1", "2", "3"]
    assert all(attributes["scope"] in ("row", "col") for attributes in page.of("th"))
    assert len(page.of("caption")) == 1


def test_page_holds_everything_and_asks_for_nothing(text):
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert str(attributes.get(name, "#")).startswith(("data:", "#"))
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert not re.findall(r"@import|url\(", text)
    assert len(page.of("h1")) == 1
    assert page.of("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.of("img"))


def test_names_of_elements_for_scripts_and_tests(text):
    elements = {attributes["id"]: (tag, attributes) for tag, attributes in Page(text).elements if "id" in attributes}
    names = {"mip", "stage", "play", "view-name", "lesions", "slice", "slice-position", "mask-toggle", "static-mip"}
    assert names <= set(elements)
    assert elements["mip"][1]["data-view"] == "0"
    assert elements["slice"][1]["data-slice"] == "0"
    assert len(elements) == len([1 for _, attributes in Page(text).elements if "id" in attributes])  # no name twice


def test_data_place_each_lesion_in_projections_and_slices(text):
    data = data_of(text)
    first, second, third = data["lesions"]
    assert (first["number"], second["number"], third["number"]) == (1, 2, 3)
    assert 0 < first["view"] < 9  # from the front left
    assert 18 < second["view"] < 27  # from the back right
    assert first["slice"] - second["slice"] == 30
    assert first["up"] - second["up"] == pytest.approx(150.0)
    assert data["mip"]["views"] == 36
    assert data["slices"]["count"] == 60


def test_liver_reference_has_its_place_in_the_pictures(scan):
    """Its centre is that of voxel x = 20, y = 15, z = 40; the slices begin where the crop does."""
    pet, numbers = scan
    report = example_report(*scan)
    centre_mm = (-100.0 + 20 * 4, -80.0 + 15 * 4, -900.0 + 40 * 5)
    data = data_of(page_of(replace(report, liver=replace(report.liver, centre_mm=centre_mm)), pet, numbers))
    first = data["lesions"][0]  # at z, y, x 45, 12, 38
    liver = data["liver"]
    assert first["slice"] - liver["slice"] == 5
    assert (first["column"] - liver["column"], first["row"] - liver["row"]) == pytest.approx((18, -3))
    assert (first["left"] - liver["left"], first["back"] - liver["back"]) == pytest.approx((72, -12))
    assert first["up"] - liver["up"] == pytest.approx(25.0)
    assert data_of(page_of(replace(report, liver=None), pet, numbers))["liver"] is None


def test_hostile_names_stay_text(scan):
    hostile = example_report(
        *scan,
        pet=Path(EVIL.replace("/", "-")),
        method=EVIL,
        warnings=(EVIL,),
        processing={EVIL: EVIL},
        liver_note=EVIL,
        program=EVIL,
        created=EVIL,
    )
    hostile = replace(hostile, weights=tuple(replace(terms, attribution=EVIL) for terms in hostile.weights))
    page = Page(page_of(hostile, *scan))
    assert len(page.of("script")) == len(Page(page_of(example_report(*scan), *scan)).of("script"))
    assert not [image for image in page.of("img") if image["src"] == "x"]
    assert page.text.count(EVIL) >= 7


def test_marks_of_weights_and_liver(scan, text):
    assert "Demonstration weights." in text
    assert "<strong>Guess:</strong>" in text
    assert "Outside of 1.3 to 3.0" not in text
    assert "Deauville" not in text
    report = example_report(*scan)
    sure = replace(report.liver, guessed=False, in_range=False, suv_mean=3.4)
    weights = tuple(replace(terms, demonstration=False) for terms in report.weights)
    other = page_of(replace(report, liver=sure, weights=weights, warnings=(), body_surface_m2=None), *scan)
    assert "Guess:" not in other
    assert Page(other).rows[0][-2:] == ["SUVmax / liver", "SUVmean / liver"]
    assert "Outside of 1.3 to 3.0" in other
    assert "Demonstration weights." not in other
    assert "body surface area, which is not known" in other


def test_report_without_liver_has_no_ratios(scan):
    page = Page(page_of(example_report(*scan, liver=None, liver_note="no liver in the scan"), *scan))
    assert "liver" not in "".join(page.rows[0])
    assert "No liver in the scan." in page.text
    assert "There is no liver reference" not in page.text


def test_notes_end_with_one_full_stop(scan):
    page = Page(page_of(example_report(*scan, liver_note="a guess: check it.", method="by hand."), *scan))
    assert "Guess: A guess: check it.\n" in page.text
    assert "Mask made by: by hand. Compare" in page.text


def test_report_without_lesions_says_so():
    pet, numbers = scan_with_balls()
    text = page_of(example_report(pet, numbers), pet, numbers)
    page = Page(text)
    assert "The mask has no lesions." in page.text
    assert not page.of("table")
    assert data_of(text)["lesions"] == []
    assert not [a for a in page.of("input") if a.get("id") == "mask-toggle"]


def test_long_tables_end_with_the_largest_lesions(scan, monkeypatch):
    monkeypatch.setattr(page_module, "MAX_ROWS", 2)
    page = Page(page_of(example_report(*scan), *scan))
    assert len(page.rows) == 3
    assert "The 2 largest of 3 lesions" in page.text


def test_file_is_written_or_the_error_names_it(scan, tmp_path):
    report, display = example_report(*scan), display_of(*scan)
    picture = draw_mip(report, display)
    write_page(report, display, picture, tmp_path / "new" / "report.html", viewer=None)
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"report\.html: the page cannot be written"):
        write_page(report, display, picture, tmp_path / "file" / "report.html", viewer=None)


def test_figures_as_text():
    assert [volume_text(ml) for ml in (1437.26, 10.0, 9.5, 0.031, 0.0, None)] == [
        "1437.3",
        "10.0",
        "9.50",
        "0.03",
        "0",
        "–",
    ]
    assert point_text((-12.4, 30.6, -0.2)) == "12 R, 31 P, 0 I"
    assert time_text("2026-11-30T05:04:00+00:00") == "30 November 2026, 05:04 UTC"
    assert time_text("yesterday") == "yesterday"


@pytest.mark.parametrize(("degrees", "tilt"), [(0, ""), (1, ""), (15, "15°"), (40, "40°")])
def test_pictures_of_an_oblique_scan_say_so(scan, degrees, tilt):
    """The scan is turned around the long axis; the views follow it."""
    pet, numbers = scan
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    direction = (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)
    pet = Volume(pet.array_zyx, replace(pet.geometry, direction=direction))
    report, display = example_report(pet, numbers), display_of(pet, numbers)
    note = f"Oblique scan: pictures follow its axes, {tilt} from the patient's." if tilt else ""
    assert display.tilt_text() == note
    page = Page(page_of(report, pet, numbers))
    assert page.text.count("Oblique scan") == (2 if tilt else 0)
    assert not tilt or note in page.text
    straight = draw_mip(report, display_of(*scan))
    assert draw_mip(report, display).height - straight.height == (LINE if tilt else 0)


def test_suv_window_scales_the_pictures(scan):
    narrow = page_of(example_report(*scan), *scan, suv_window=(0.0, 4.0))
    assert "SUV 4 and above is black" in narrow
    assert np.not_equal(
        data_of(narrow)["mip"]["sprite"], data_of(page_of(example_report(*scan), *scan))["mip"]["sprite"]
    )
