"""A headless browser for the tests of pages: Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


@contextmanager
def launched() -> Iterator:
    """Yield a browser; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: install Debian's package chromium (looked for {', '.join(NAMES)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: it does not work for root, and the pages are our own. Pictures are drawn by the processor, 3D too.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser, path: Path, **settings) -> Iterator:
    """Open a file in a window of its own; yield the page.

    At the end there must be no message in the console, no error of a script, and no request but for the file itself
    and for data inside of the page.

    Parameters
    ----------
    browser
        From `launched`.
    path
        The file.
    **settings
        Of the window, such as `PHONE`.
    """
    context = browser.new_context(**{**DESKTOP, **settings})
    context.set_default_timeout(30_000)  # milliseconds
    page = context.new_page()
    faults: list[str] = []
    own = path.resolve().as_uri()

    def route(request):
        if request.request.url.split("#")[0] == own or re.match("(data|blob):", request.request.url):
            request.continue_()
        else:
            faults.append(f"requested {request.request.url[:200]}")
            request.abort()

    context.route("**/*", route)
    page.on("console", lambda message: faults.extend(_said(message.type, message.text)))
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("websocket", lambda socket: faults.append(f"websocket: {socket.url}"))
    try:
        page.goto(own)
        yield page
    finally:
        context.close()
    assert not faults, "\n".join(faults)


def _said(kind: str, text: str) -> list[str]:
    """Return a message of the console as a fault, but for what the driver of 3D says about its speed."""
    return [] if "GL Driver Message (OpenGL, Performance" in text else [f"console: {kind}: {text[:500]}"]


def read_pdf(content: bytes) -> tuple[str, float]:
    """Return the text of a PDF, without spaces, and how far to the right it goes as a share of the page's width."""
    from pypdfium2 import PdfDocument

    text, end = "", 0.0
    for page in PdfDocument(content):
        words = page.get_textpage()
        text += "".join(words.get_text_range().split())
        ends = (words.get_rect(number)[2] / page.get_width() for number in range(words.count_rects()))
        end = max([end, *ends])
    return text, end
