from __future__ import annotations

import pytest
from browser import launched, opened

PAGE = '<!doctype html><title>x</title><link rel="icon" href="data:,"><p>text</p>{}'
FAULTS = {
    '<img src="http://127.0.0.1:9/x.png">': "requested http://127.0.0.1:9/x.png",
    '<img src="other.png">': "other.png",
    "<script>fetch('https://host.example/').catch(() => {})</script>": "requested https://host.example/",
    "<script>console.log('said')</script>": "console: log: said",
    "<script>null.x</script>": "script: Cannot read properties of null",
    "<script>setTimeout(() => alert('run'))</script>": "dialog: run",
}


@pytest.mark.parametrize(("html", "fault"), FAULTS.items())
@pytest.mark.long
def test_a_fault_of_a_page_is_seen(browser, tmp_path, html, fault):
    (tmp_path / "page.html").write_text(PAGE.format(html))
    with pytest.raises(AssertionError) as failure, opened(browser, tmp_path / "page.html") as page:
        page.wait_for_timeout(100)
    assert fault in str(failure.value)


@pytest.mark.long
def test_data_inside_of_the_page_is_no_fault(browser, tmp_path):
    script = "<script>fetch('data:,x'); document.images[0].src = URL.createObjectURL(new Blob(['x']))</script>"
    (tmp_path / "page #1.html").write_text(PAGE.format(f'<img alt="" src="data:,">{script}'))
    with opened(browser, tmp_path / "page #1.html") as page:
        assert page.inner_text("p") == "text"


def test_a_missing_browser_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="install Debian's package chromium"), launched():
        pass
