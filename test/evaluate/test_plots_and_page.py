"""metrics.png and metrics.html, of cohorts of any size."""

from __future__ import annotations

import base64
import io
import math
import re

import matplotlib.image
import numpy as np
import pytest

from swfastedit_core.evaluate.cohort import CaseResult, Scoring
from swfastedit_core.evaluate.page import COLUMNS
from swfastedit_core.evaluate.plots import write_plots
from swfastedit_core.evaluate.results import Evaluation, write_evaluation
from swfastedit_core.evaluate.table import METRICS
from swfastedit_core.metrics.scores import Scores


def scores(seed, *, empty=False):
    """Make scores that are possible."""
    random = np.random.default_rng(seed)
    label_ml = 0.0 if empty else float(np.exp(random.normal(3, 2)))
    defined = math.nan if empty else float(random.random())
    return Scores(
        dice=defined,
        fpv_ml=float(random.exponential(3)),
        fnv_ml=defined,
        precision=defined,
        recall=defined,
        f1=defined,
        surface_dice=0.0 if empty else defined,
        hd95_mm=math.nan if empty else float(random.exponential(40)),
        label_ml=label_ml,
        prediction_ml=label_ml + 1,
        volume_error_ml=1.0,
        label_lesions=0 if empty else 2,
        predicted_lesions=1,
        true_positives=0 if empty else 1,
        false_positives=1,
        false_negatives=0 if empty else 1,
    )


def coloured(path, colour):
    """Return whether each panel, of two rows of three, has pixels that are clearly blue or orange."""
    red, _, blue = np.moveaxis(matplotlib.image.imread(path)[..., :3], -1, 0)
    marked = {"blue": blue - red, "orange": red - blue}[colour] > 0.3
    return [bool(panel.any()) for row in np.array_split(marked, 2) for panel in np.array_split(row, 3, axis=1)]


@pytest.mark.parametrize("cases", [1, 3, 200])
def test_every_plot_has_points(cases, tmp_path):
    write_plots([scores(seed) for seed in range(cases)], tmp_path / "a.png", tolerance_mm=2.0)
    assert coloured(tmp_path / "a.png", "blue") == [True] * 6
    assert coloured(tmp_path / "a.png", "orange") == [True, True, True, False, True, False]  # medians, mean difference


@pytest.mark.parametrize("given", [[], [scores(0, empty=True)]])
def test_plots_of_nothing_say_so(given, tmp_path):
    """Without cases no plot has a point; of an empty label, FPV, surface Dice and volumes are left."""
    write_plots(given, tmp_path / "a.png", tolerance_mm=2.0)
    assert coloured(tmp_path / "a.png", "blue") == ([True, True, False, True, True, False] if given else [False] * 6)


@pytest.fixture
def page(tmp_path):
    results = [
        CaseResult(case="b", scores=scores(1)),
        CaseResult(case="a", scores=scores(2, empty=True), remark="resampled"),
    ]
    evaluation = Evaluation(
        labels="labels", predictions="masks", scoring=Scoring(lesion_labels=(2, 3)), results=tuple(results)
    )
    write_evaluation(evaluation, tmp_path, say=lambda _: None, stderr=io.StringIO())
    return (tmp_path / "metrics.html").read_text(encoding="utf-8"), tmp_path


def test_page_has_the_picture_and_asks_the_network_for_nothing(page):
    text, folder = page
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(picture) == (folder / "metrics.png").read_bytes()
    assert not re.findall(r"""(?:src|href|url|action)\s*[=(]\s*["']?(?!data:|#|\)|")[^\s"')>]+""", text)


def test_every_metric_has_a_column_and_a_definition(page):
    text, _ = page
    assert [column.name for column in COLUMNS] == list(METRICS)
    definitions = text[text.index("Definitions</h2>") :]
    assert len(re.findall(r"<dd>.+</dd>", definitions)) == len(METRICS)


def test_cells_are_rounded_and_sorted_by_the_exact_value(page):
    text, _ = page
    exact = scores(1).dice
    assert f'<td class="number" data-sort="{exact}">{exact:.3f}</td>' in text
    (row,) = re.findall(r'<tr><th scope="row">a</th>(.*)</tr>', text)
    assert row.startswith('<td class="number">–</td>')  # Dice of an empty label
    assert row.endswith("<td>resampled</td>")
    assert "labels: 2, 3; predictions: all above 0" in text
