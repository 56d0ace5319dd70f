"""report.html in a headless browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from accessibility import accessibility_faults
from browser import PHONE, opened
from example_report import example_report, page_of, scan_with_balls, wait_until_drawn

MARKUP = '<script>alert("run")</script>'
FILE = "<img src=x onerror=alert(2)>&amp;.mha"
RED_SHARE = """([id, x0, x1]) => {
  const canvas = document.getElementById(id);
  const width = Math.round(canvas.width * (x1 - x0));
  const copy = new OffscreenCanvas(width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.round(canvas.width * x0), 0);
  const { data } = copy.getImageData(0, 0, width, canvas.height);
  let red = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] > data[i + 1] + 20 && data[i] > data[i + 2] + 20) red += 1;
  return red / (data.length / 4);
}"""


def number(page, name, attribute):
    return int(page.get_attribute(f"#{name}", f"data-{attribute}"))


def red_share(page, name, *, of=(0.0, 1.0)):
    """Return which share of a picture's pixels is red, between two shares of its width."""
    return page.evaluate(RED_SHARE, [name, *of])


@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param(PHONE, marks=pytest.mark.long), pytest.param({"color_scheme": "dark"}, marks=pytest.mark.long)],
    ids=["desktop", "phone", "dark"],
)
def test_page_has_no_faults(browser, report_page, settings):
    with opened(browser, report_page, **settings) as page:
        wait_until_drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert accessibility_faults(page) == []


@pytest.mark.long
def test_a_report_without_lesions_has_no_faults(browser, tmp_path):
    scan, numbers = scan_with_balls()
    report = example_report(scan, numbers, liver=None, weights=())
    (tmp_path / "report.html").write_text(page_of(report, scan, numbers), encoding="utf-8")
    with opened(browser, tmp_path / "report.html") as page:
        assert accessibility_faults(wait_until_drawn(page)) == []


def test_markup_in_names_stays_text(browser, example, tmp_path):
    scan, numbers, report = example
    terms = replace(report.weights[0], source=MARKUP, licence=MARKUP, attribution=MARKUP)
    report = replace(
        report, pet=Path(FILE), mask=Path(FILE), method=MARKUP, liver_note=MARKUP, warnings=(MARKUP,),
        weights=(terms,), processing={MARKUP: MARKUP}, program=MARKUP, created=MARKUP,
    )  # fmt: skip
    (tmp_path / "report.html").write_text(page_of(report, scan, numbers), encoding="utf-8")
    with opened(browser, tmp_path / "report.html") as page:
        wait_until_drawn(page)
        assert page.title() == f"PET report: {FILE}"
        assert page.get_by_text(FILE).count() >= 2
        assert page.get_by_text(MARKUP).count() >= 7
        assert page.locator("img[onerror]").count() == 0


def test_mouse_turns_the_projection(page):
    box = page.locator("#mip").bounding_box()
    x, y = box["x"] + box["width"] * 0.85, box["y"] + box["height"] * 0.3  # no lesion and no number is there
    assert number(page, "mip", "view") == 0
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 2, y, steps=4)
    page.wait_for_selector("#mip[data-view='9']")  # the width is half a turn; towards the patient's left side
    page.mouse.up()
    page.mouse.move(x, y, steps=4)
    assert number(page, "mip", "view") == 9
    assert page.inner_text("#view-name").startswith("Left ")


@pytest.mark.long
def test_finger_turns_the_projection(browser, report_page):
    with opened(browser, report_page, **PHONE) as page:
        wait_until_drawn(page).locator("#mip").scroll_into_view_if_needed()
        box = page.locator("#mip").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        send = page.context.new_cdp_session(page).send
        scrolled = page.evaluate("scrollY")
        send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 9):
            point = {"x": x + step * box["width"] / 16, "y": y}
            send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_selector("#mip[data-view='27']")
        assert page.evaluate("scrollY") == scrolled


@pytest.mark.long
def test_keys_turn_the_projection(page):
    page.focus("#mip")
    for key, view in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 35), ("PageUp", 8), ("Home", 0)):
        page.keyboard.press(key)
        assert number(page, "mip", "view") == view
    assert page.get_attribute("#mip", "aria-valuetext") == "Anterior view, 0°"


@pytest.mark.long
def test_the_projection_plays_and_stops(browser, report_page):
    with opened(browser, report_page) as page:
        wait_until_drawn(page)
        page.click("#play")
        page.wait_for_selector('#mip[data-view="2"]')
        page.click("#play")
        stopped = number(page, "mip", "view")
        page.wait_for_timeout(200)  # the views change every 120 ms
        assert number(page, "mip", "view") == stopped


@pytest.mark.parametrize("column", ["MTV", pytest.param("TLG", marks=pytest.mark.long)])
def test_columns_are_sorted_by_number_both_ways(page, column):
    heading = page.locator("#lesions thead th", has_text=column).first
    index = heading.evaluate("heading => heading.cellIndex")

    def figures():
        rows = page.locator("#lesions tbody tr")
        return [float(row.locator("th, td").nth(index).inner_text().replace(",", "")) for row in rows.all()]

    before = figures()
    assert sorted(before) != sorted(before, key=str)  # as text they have another order
    for direction, expected in (("descending", sorted(before, reverse=True)), ("ascending", sorted(before))):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        assert figures() == expected
    assert page.locator("#lesions th[aria-sort]").count() == 1


def test_a_click_on_a_number_marks_the_row_and_turns_to_the_lesion(page):
    page.focus("#mip")
    page.keyboard.press("PageUp")  # the view from the left; lesion 1 is at the right side
    page.locator('#stage button.lesion[data-lesion="1"]').click()
    marked = page.locator("#lesions tr.marked")
    assert (marked.count(), marked.get_attribute("data-lesion")) == (1, "1")
    assert page.inner_text("#view-name") == "Right lateral view, 270°"
    assert page.inner_text("#marked").startswith("Lesion 1: ")
    page.wait_for_selector('#slice[data-slice="50"]')
    page.keyboard.press("Escape")
    assert marked.count() == 0


@pytest.mark.long
def test_a_row_shows_its_lesion_by_keyboard(page):
    page.locator("#lesions tr[data-lesion='1'] .show-lesion").press("Enter")
    assert page.locator("#lesions tr.marked").get_attribute("data-lesion") == "1"
    number_of = page.locator('#stage button.lesion[data-lesion="1"]')
    assert number_of.is_visible()
    assert number_of.get_attribute("aria-pressed") == "true"


@pytest.mark.long
def test_sides_are_those_of_the_patient(page):
    """Lesion 1 is at the patient's right: left in the anterior view and on the slice, right in the posterior view."""

    def middle(name):
        box = page.locator(name).bounding_box()
        return box["x"] + box["width"] / 2

    def is_left():
        return middle('#stage button.lesion[data-lesion="1"]') < middle("#mip")

    assert is_left()
    assert (page.inner_text("#side-start"), page.inner_text("#side-end")) == ("R", "L")
    page.focus("#mip")
    for _ in range(2):
        page.keyboard.press("PageUp")
    assert page.get_attribute("#mip", "aria-valuetext") == "Posterior view, 180°"
    assert not is_left()
    page.fill("#slice-position", "50")
    page.wait_for_selector('#slice[data-slice="50"]')
    right, left = (red_share(page, "slice", of=half) for half in ((0.0, 0.5), (0.5, 1.0)))
    assert right > 1.2 * left > 0


@pytest.mark.long
def test_slices_move_and_the_mask_is_shown_and_hidden(page):
    page.fill("#slice-position", "50")
    page.wait_for_selector('#slice[data-slice="50"]')
    assert red_share(page, "slice") > 0.01  # the balls are a tenth of the slice
    page.uncheck("#mask-toggle")
    page.wait_for_timeout(50)
    assert red_share(page, "slice") == 0
    page.check("#mask-toggle")
    page.focus("#slice-position")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#slice[data-slice="51"]')
    page.hover("#slice")
    page.mouse.wheel(0, 120)
    page.wait_for_selector('#slice[data-slice="47"]')
    page.fill("#slice-position", "0")
    page.wait_for_selector('#slice[data-slice="0"]')
    assert red_share(page, "slice") == 0


@pytest.mark.long
def test_the_place_of_the_liver_is_shown_and_hidden(page):
    def drawn():
        return page.evaluate("document.getElementById('mip').toDataURL()")

    place = page.evaluate("JSON.parse(document.getElementById('report-data').text).liver.slice")
    page.fill("#slice-position", str(place))
    before = drawn()
    page.click("#show-liver")
    assert (drawn() == before, page.get_attribute("#show-liver", "aria-pressed")) == (False, "true")
    page.click("#show-liver")
    assert (drawn() == before, page.get_attribute("#show-liver", "aria-pressed")) == (True, "false")


@pytest.mark.long
def test_outlines_of_the_projection_are_shown_and_hidden(page):
    assert red_share(page, "mip") > 0.001
    page.uncheck("#outline-toggle")
    assert red_share(page, "mip") < 0.001


@pytest.mark.long
def test_line_of_a_number_starts_at_the_lesion_also_where_it_does_not_fill_its_box(page):
    """Lesion 3 is an L: a wall at the left and a floor. A line from the right meets the wall in the middle row."""
    start = page.evaluate("""() => {
      const pixels = new Uint16Array(12 * 12);
      for (let i = 1; i <= 10; i += 1) pixels[i * 12 + 1] = pixels[10 * 12 + i] = 3;
      const lesions = { pixels, width: 12, rows: 10, columns: 10 };
      return lesionNumbers.meetLesion(lesions, 3, { x: 10, y: 5 }, { x: 5, y: 5 });
    }""")
    assert 0.5 <= start["x"] <= 1
    assert start["y"] == 5


@pytest.mark.long
def test_a_drag_that_is_released_outside_of_the_picture_ends(page):
    """The pointer leaves the picture before the drag begins: the picture does not follow it when it comes back."""
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + 2, box["y"] + box["height"] * 0.3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 20, y)
    page.mouse.up()
    page.mouse.move(x + box["width"] / 2, y, steps=4)
    assert number(page, "mip", "view") == 0


@pytest.mark.long
def test_figures_can_be_selected_without_marking_the_lesion(page):
    page.locator("#lesions tr[data-lesion='2']").scroll_into_view_if_needed()
    cell = page.locator("#lesions tr[data-lesion='2'] td").first.bounding_box()
    y = cell["y"] + cell["height"] / 2
    page.mouse.move(cell["x"] + 2, y)
    page.mouse.down()
    page.mouse.move(cell["x"] + cell["width"] + 30, y, steps=3)
    page.mouse.up()
    assert page.evaluate("getSelection().toString()").strip()
    assert page.locator("#lesions tr.marked").count() == 0
    page.click("#lesions tr[data-lesion='2'] .show-lesion")
    assert page.locator("#lesions tr.marked").count() == 1


@pytest.mark.long
def test_arrows_are_no_part_of_the_name_of_a_heading(page):
    """As the browser tells it to a screen reader."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    names = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "button"]
    assert {"No.", "MTV ml", "SUVmax", "Longest diameter mm"} <= set(names)
    assert not [name for name in names if set(name) & set("↑↓↕")]
