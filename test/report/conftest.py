from __future__ import annotations

import pytest
from browser import opened
from example_report import example_report, page_of, scan_with_balls, wait_until_drawn

# Twelve lesions. The two largest are at the patient's right side and at the left side, the others one above another.
BALLS = [(50, 20, 12, 4.2), (50, 20, 38, 3.6), (5, 20, 25, 3.0), *((11 + 4 * i, 20, 25, 1.0) for i in range(9))]


@pytest.fixture(scope="module")
def example():
    scan, numbers = scan_with_balls(*BALLS)
    return scan, numbers, example_report(scan, numbers)


@pytest.fixture(scope="module")
def report_page(example, tmp_path_factory):
    scan, numbers, report = example
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(report, scan, numbers), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, report_page):
    # Less motion: the projection turns to a lesion at once.
    with opened(browser, report_page, reduced_motion="reduce") as page:
        yield wait_until_drawn(page)
