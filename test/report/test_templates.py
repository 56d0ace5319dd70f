from __future__ import annotations

import json
import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from swfastedit_core.report.page.templates import render


@pytest.fixture
def template(tmp_path, monkeypatch):
    """Return a function that renders a text as a template of a package of its own."""

    def render_text(text: str, **values: object) -> str:
        folder = tmp_path / f"of_{tmp_path.name}" / "html"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "__init__.py").write_text("")
        (folder / "page.html.jinja").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return render(folder.parent.name, "page.html.jinja", **values)

    return render_text


def test_page_extends_the_base_of_the_report(template):
    page = template(
        '{% extends "base.html.jinja" %}{% block title %}A & B{% endblock %}{% block main %}{{ a }}{% endblock %}', a=3
    )
    assert page.startswith("<!doctype html>")
    assert "<title>A & B</title>" in page
    assert re.search(r"<main[^>]*>\s*3</main>", page)
    assert "aria-sort" in page  # the script of the tables
    assert ".card" in page  # the style
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:,|#)[^"]*"', page)


def test_values_are_escaped_and_own_markup_is_not(template):
    page = template("<p title='{{ a }}'>{{ a }}</p>{{ b }}", a="<script>'\"&", b=Markup("<b>"))
    assert page == "<p title='&lt;script&gt;&#39;&#34;&amp;'>&lt;script&gt;&#39;&#34;&amp;</p><b>"


def test_json_cannot_end_its_script(template):
    values = {"name": "</script><script>alert(1)</script><!--", "x": [1.5, None]}
    page = template('<script type="application/json">{{ a|tojson }}</script>', a=values)
    content = page.removeprefix('<script type="application/json">').removesuffix("</script>")
    assert "<" not in content
    assert json.loads(content) == values
    with pytest.raises(ValueError, match="not JSON compliant"):  # NaN is no JSON: browsers stop there
        template("{{ a|tojson }}", a=float("nan"))


def test_missing_value_is_an_error(template):
    with pytest.raises(UndefinedError, match="'a' is undefined"):
        template("{{ a }}")
