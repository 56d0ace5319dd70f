"""The viewer of report.html in a headless browser, which draws 3D without a GPU."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accessibility import accessibility_faults
from browser import opened
from example_report import example_report, scan_with_balls
from PIL import Image

from swfastedit_core import Volume
from swfastedit_core.report.page import niivue
from swfastedit_core.report.write import write_report

pytestmark = pytest.mark.long  # a browser takes seconds

# In place of NiiVue's code: what a browser answers that is asked for WebGL 2.
ANSWER = """const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (name) { return name === "webgl2" ? %s : real.call(this, name); };"""
# NiiVue's file; .ci/run names it, because its tests have an empty home folder.
FILE = Path(os.environ.get("SWFASTEDIT_NIIVUE") or niivue.cached_file())
needs_niivue = pytest.mark.skipif(not FILE.is_file(), reason=f"NiiVue is not there; run: {niivue.COMMAND}")


@pytest.fixture(scope="module")
def example():
    scan, numbers = scan_with_balls((50, 20, 12, 4.2), (10, 20, 25, 2.0))  # lesion 1 is at the patient's right side
    cosine, sine = 0.8, 0.6  # of an oblique scan: the viewer's place is wrong if it is not by the affine
    direction = (1.0, 0.0, 0.0, 0.0, cosine, -sine, 0.0, sine, cosine)
    scan = Volume(scan.array_zyx, replace(scan.geometry, direction=direction))
    return scan, numbers, example_report(scan, numbers)


def pixels(canvas):
    """Return what is seen of a canvas: RGB [rows, columns, 3], int."""
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)


def is_red(rgb):
    return (rgb[..., 0] > rgb[..., 1] + 60) & (rgb[..., 0] > rgb[..., 2] + 60)


def write(example, folder):
    scan, numbers, report = example
    write_report(report, scan, numbers, folder, viewer=True)
    return folder / "report.html"


@needs_niivue
def test_the_viewer_draws_lesions_and_moves_to_them(browser, example, monkeypatch, tmp_path):
    monkeypatch.setattr(niivue, "cached_file", lambda: FILE)
    path = write(example, tmp_path)
    small = {"viewport": {"width": 400, "height": 400}}
    with opened(browser, path, **small) as page:
        canvas, place = page.locator("#viewer-canvas"), page.locator("#viewer-place")
        canvas.scroll_into_view_if_needed()
        page.wait_for_selector("#viewer-canvas[data-state='drawn']", timeout=60_000)
        page.click("#viewer [data-view=coronal]")
        page.evaluate("document.querySelector('#lesions tr[data-lesion=\"1\"]').click()")
        page.wait_for_function("() => document.getElementById('viewer-place').textContent.endsWith('lesion 1')")
        assert place.inner_text() == "SUV 8.0, lesion 1"
        rgb = pixels(canvas)
        left, right = (half.mean() for half in np.array_split(is_red(rgb), 2, axis=1))
        assert left > 0.005 > 0.003 > right > 0  # the patient's right is on the left; lesion 2 is in the middle
        greys = rgb[np.ptp(rgb, axis=2) == 0][:, 0]
        assert np.mean(np.abs(greys - 255 * 0.9) < 3) > 0.2  # SUV 1 of 0 to 10
        page.click("#viewer-mask")
        rgb = pixels(canvas)
        assert not is_red(rgb).any()
        assert np.sum(np.abs(rgb - 255 * 0.2).max(axis=2) < 3) > 100  # SUV 8
        assert accessibility_faults(page) == []


def test_a_browser_without_3d_says_so_and_the_page_works(browser, example, monkeypatch, tmp_path):
    monkeypatch.setattr(niivue, "read", lambda: ANSWER % "null")
    with opened(browser, write(example, tmp_path)) as page:
        page.locator("#viewer-canvas").scroll_into_view_if_needed()
        page.wait_for_selector("#viewer-canvas[data-state='failed']")
        assert page.inner_text("#viewer-place").startswith("This browser draws no 3D here")
        assert page.is_disabled("#viewer-mask")
        page.click("#lesions tr[data-lesion='1'] .show-lesion")
        assert page.locator("#lesions tr.marked").get_attribute("data-lesion") == "1"


def test_a_viewer_that_fails_says_why(browser, example, monkeypatch, tmp_path):
    monkeypatch.setattr(niivue, "read", lambda: ANSWER % "{}")
    with opened(browser, write(example, tmp_path)) as page:
        page.locator("#viewer-canvas").scroll_into_view_if_needed()
        page.wait_for_selector("#viewer-canvas[data-state='failed']")
        assert page.inner_text("#viewer-place") == "The viewer cannot be shown: niivue is not defined"
