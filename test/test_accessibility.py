from __future__ import annotations

import pytest
from accessibility import accessibility_faults
from browser import opened

pytestmark = pytest.mark.long  # a browser takes seconds

GOOD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>x</title><link rel="icon" href="data:,">
<body style="background:#fff;color:#000"><main><h1>One</h1><h2>Two</h2><p>text</p>{}</main>"""
FAULTS = {
    '<img src="data:,">': "no alt",
    "<button></button>": "no name",
    '<button aria-label=" "></button>': "no name",
    '<input type="range">': "no name",
    '<canvas role="img"></canvas>': "no name",
    "<h4>four</h4>": "h4 follows h2",
    "<h1>again</h1>": "expected one h1",
    '<p id="a"><p id="a">': "two of id a",
    '<p style="color:#777">grey</p>': "contrast 4.48",
    '<p style="opacity:.4">pale</p>': "contrast 2.85",
    '<div style="background:#000"><p style="background:#ffffff80;color:#999">x</p></div>': "contrast 1.",
    "<table><tr><th>x</th></table>": "th without scope",
    '<p aria-labelledby="gone">x</p>': "names gone, which is not there",
    '<p tabindex="3">x</p>': "tabindex above 0",
    '<div style="width:50px;overflow:auto"><p style="width:500px">x</p></div>': "scrolls, but not by keyboard",
}
FINE = """<img alt="" src="data:,"><button aria-label="Go">▶</button><label>Slice <input type="range"></label>
<p style="color:#767676">grey</p><p hidden style="color:#eee">x</p><p style="color:#949494;font-size:24px">large</p>
<table><tr><th scope="col">x</th></table><div tabindex="0" style="width:50px;overflow:auto"><p style="width:500px">x"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(GOOD)
    with opened(browser, path) as page:
        yield page


@pytest.mark.parametrize(("html", "fault"), FAULTS.items())
def test_each_fault_is_found(page, html, fault):
    page.set_content(GOOD.format(html))
    (found,) = accessibility_faults(page)
    assert fault in found


def test_a_good_page_has_no_fault(page):
    page.set_content(GOOD.format(FINE))
    assert accessibility_faults(page) == []


def test_a_page_without_language_and_title(page):
    page.set_content("<html><body><p>text</p></body></html>")
    found = accessibility_faults(page)
    assert {"the page has no language", "the page has no title", "expected one main", "expected one h1"} <= set(found)
