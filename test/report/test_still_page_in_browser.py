"""report.html on paper and without its script, in a headless browser."""

from __future__ import annotations

import pytest
from browser import opened, read_pdf

pytestmark = pytest.mark.long  # a browser takes seconds


def test_printed_page_has_the_picture_and_the_whole_table(page):
    text, end = read_pdf(page.pdf(prefer_css_page_size=True))
    for row in page.locator("#lesions tbody tr").all():
        assert "".join(row.inner_text().split()) in text
    assert text.count("SUVpeak") >= 2  # heading and note
    assert end <= 1
    assert ("Researchuseonly" in text, "click" in text) == (True, False)
    page.emulate_media(media="print")
    assert page.is_visible("#static-mip img")
    assert not page.is_visible("#mip")


def test_the_headings_of_a_long_table_are_printed_on_each_page(page):
    page.add_style_tag(content="@page { size: 210mm 90mm }")
    text, _ = read_pdf(page.pdf(prefer_css_page_size=True))
    assert text.count("Sphericity") >= 2


def test_without_a_turning_picture_the_still_one_is_shown(browser, report_page, tmp_path):
    """The sprite cannot be decoded: the still picture takes its place, and the console has the error."""
    path = tmp_path / "report.html"
    start = '"sprite":"data:image/jpeg;base64,'
    path.write_text(report_page.read_text().replace(start, f"{start}AA"))
    seen = []
    with pytest.raises(AssertionError, match="script: "), opened(browser, path) as page:
        seen = [page.wait_for_selector("#static-mip img", timeout=3000), page.is_visible("#mip")]
    assert seen[0] is not None
    assert not seen[1]


def test_without_scripts_the_picture_and_the_table_are_there(browser, report_page):
    with opened(browser, report_page, java_script_enabled=False) as page:
        assert page.is_visible("#static-mip img")
        assert page.locator("#lesions tbody tr").count() == 12
        assert not page.is_visible("#mip")
