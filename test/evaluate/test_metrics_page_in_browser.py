"""metrics.html, compare.html and clicks.html in a headless browser."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from accessibility import accessibility_faults
from browser import PHONE, opened, read_pdf
from click_curves import curve, step
from tiny_masks import mask, write

from swfastedit_core.evaluate.clicks.curve import CurveResult
from swfastedit_core.evaluate.clicks.files import ClickEvaluation, write_click_evaluation
from swfastedit_core.evaluate.clicks.protocols import AutoPet5
from swfastedit_core.evaluate.cohort import Scoring

pytestmark = pytest.mark.long  # a browser takes seconds

MARKUP = "<img src=x onerror=alert(1)>&amp;"
DOTS = {MARKUP: 10, "nine": 9, "two": 2, "none": 0}  # isolated voxels of the label


def dots(count: int) -> np.ndarray:
    """Return a mask with this many components."""
    array = mask()
    places = [(z, y, x) for z in range(0, array.shape[0], 2) for y in range(0, array.shape[1], 2)
              for x in range(0, array.shape[2], 2)]  # fmt: skip
    for place in places[:count]:
        array[place] = 1
    return array


@pytest.fixture(scope="module")
def metrics_page(tmp_path_factory):
    top = tmp_path_factory.mktemp("cohort")
    for name, count in DOTS.items():
        write(dots(count), top / "labels" / f"{name}.mha")
        write(dots(max(count - 1, 0)), top / "predictions" / f"{name}.mha")
    from swfastedit_core.evaluate.__main__ import main

    code = main([f"--{name}={top / name}" for name in ("labels", "predictions", "output")])
    assert code == 0
    return top / "output/metrics.html"


@pytest.fixture(scope="module")
def compare_page(metrics_page):
    from swfastedit_core.evaluate.__main__ import main

    top = metrics_page.parent.parent
    for name, count in DOTS.items():
        write(dots(max(count - 2, 0)), top / "b" / f"{name}.mha")
    sides = ["--compare", f"{top / 'output'}", f"{top / 'b'}"]
    assert main([*sides, f"--labels={top / 'labels'}", f"--output={top / 'comparison'}"]) == 0
    return top / "comparison/compare.html"


@pytest.fixture(scope="module")
def clicks_page(tmp_path_factory):
    results = [
        CurveResult(
            case=name,
            scores=curve(
                step(0.5, fpv=1000.0, fnv=100.0),
                step(0.6, fpv=2345.5, tumour=[(0, 0, 0)], failure=MARKUP),
            ),
            remark=MARKUP,
        )
        for name in DOTS
    ]
    evaluation = ClickEvaluation(
        labels=MARKUP,
        predictions="w.safetensors",
        scoring=Scoring(),
        protocol=AutoPet5().settings(),
        segmentation={},
        results=tuple(results),
        notes=(MARKUP,),
    )
    folder = tmp_path_factory.mktemp("clicks")
    write_click_evaluation(evaluation, folder, say=lambda _: None, stderr=sys.stderr)
    return folder / "clicks.html"


PAGES = ("metrics_page", "compare_page", "clicks_page")


@pytest.mark.parametrize("settings", [{}, PHONE, {"color_scheme": "dark"}], ids=["desktop", "phone", "dark"])
@pytest.mark.parametrize("which", PAGES)
def test_page_has_no_faults(browser, request, which, settings):
    with opened(browser, request.getfixturevalue(which), **settings) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert accessibility_faults(page) == []


def test_cases_are_sorted_by_number_both_ways(browser, metrics_page):
    with opened(browser, metrics_page) as page:
        table = page.locator("table.sortable")
        heading = table.get_by_role("button", name="Label lesions")

        def cases():
            return table.locator("tbody th").all_inner_texts()

        heading.click()
        assert cases() == [MARKUP, "nine", "two", "none"]
        heading.click()
        assert cases() == ["none", "two", "nine", MARKUP]
        heading.press("Enter")
        assert cases() == [MARKUP, "nine", "two", "none"]
        assert table.locator("th[aria-sort]").inner_text() == "Label lesions"


def test_undefined_figures_are_last_both_ways(browser, metrics_page):
    with opened(browser, metrics_page) as page:
        table = page.locator("table.sortable")
        for direction in ("descending", "ascending"):
            table.locator("th:nth-child(2) button").click()
            assert table.locator("th[aria-sort]").get_attribute("aria-sort") == direction
            assert table.locator("tbody th").all_inner_texts()[-1] == "none"


@pytest.mark.parametrize("which", PAGES)
def test_printed_page_has_all_columns_on_the_paper(browser, request, which):
    with opened(browser, request.getfixturevalue(which)) as page:
        text, end = read_pdf(page.pdf(prefer_css_page_size=True))
        for row in page.locator("table.sortable tbody tr").all():
            assert "".join(row.inner_text().split()) in text
        assert end <= 1


@pytest.mark.parametrize("which", PAGES)
def test_every_printed_page_of_the_cases_has_the_headings(browser, request, which):
    with opened(browser, request.getfixturevalue(which)) as page:
        page.evaluate(
            """() => {
                const body = document.querySelector("#all-cases tbody");
                for (let i = 0; i < 120; i++) body.append(body.rows[0].cloneNode(true));
            }"""
        )
        text, _ = read_pdf(page.pdf(prefer_css_page_size=True))
        headings = "".join(page.locator("#all-cases thead").inner_text().replace("↕", "").split())
        assert text.count(headings) >= 3
