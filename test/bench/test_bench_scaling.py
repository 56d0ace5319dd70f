from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import torch
from places import ROOT
from scipy import ndimage

from bench import scaling
from bench.programs import ProgramRun
from swfastedit_core import Geometry, Volume, read_volume, write_volume

DEMO_WEIGHTS = ROOT / "weights" / "demo.safetensors"


@pytest.mark.parametrize(
    ("length", "slices"),
    [
        (1.0, [0, 1, 2, 3, 4]),
        (0.6, [1, 2, 3]),
        (0.2, [2]),
        (2.0, [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]),
        (1.4, [0, 1, 2, 3, 4, 4, 3]),
    ],
)
def test_scan_is_shortened_and_lengthened_along_the_body(length, slices):
    array = np.zeros((5, 2, 3), np.float32) + np.arange(5, dtype=np.float32)[:, None, None]
    found = scaling.stretched(Volume(array, Geometry((3, 2, 5), (4.0, 4.0, 3.0))), length)
    assert found.array_zyx[:, 0, 0].tolist() == slices
    assert found.geometry == Geometry((3, 2, len(slices)), (4.0, 4.0, 3.0))


def test_fit_is_perfect_for_a_line_only():
    assert scaling.r_squared([1, 2, 3], [5, 7, 9]) == pytest.approx(1.0)
    assert scaling.r_squared([0, 1, 2], [0, 3, 0]) == pytest.approx(0.0)


def test_picture_has_a_point_for_each_length_in_both_panels(tmp_path):
    points = [scaling.Point(n, 10.0 * n, 4 * n, 2.0 * n, 3.0 * n) for n in (1, 2, 4)]
    scaling.plot(points, tmp_path / "new" / "cost.png")
    picture = matplotlib.image.imread(tmp_path / "new" / "cost.png")[..., :3]
    blue = np.abs(picture - np.array([31, 119, 180]) / 255).max(axis=-1) < 0.02
    assert ndimage.label(blue)[1] == 2 * len(points)


def test_table_tells_the_fit():
    points = [scaling.Point(n, 10.0 * n, 4 * n, 2.0 * n, 3.0 * n) for n in (1, 2, 4)]
    lines = scaling.to_markdown(points).splitlines()
    assert lines[2] == "| 1 | 10.0 l | 4 | 2.0 s | 3.0 s |"
    assert lines[-1] == "Against body volume: network time R² = 1.0000, windows R² = 1.0000"


def test_time_is_measured_over_lengths_of_a_scan(tmp_path, monkeypatch):
    """In rounds: a slow second round affects all lengths, and the median of three leaves it out."""
    slowness = {1: 1.0, 2: 5.0, 3: 1.2}
    slices = []

    def run(scan, weights, output, *options):
        assert (weights, options) == (DEMO_WEIGHTS, ("--device", "cpu"))
        slices.append(len(read_volume(scan).array_zyx))
        seconds = slices[-1] * slowness[-(-len(slices) // 2)]
        return ProgramRun(seconds + 1, {"windows": slices[-1] // 5, "seconds": {"network": seconds}}, scan)

    monkeypatch.setattr(scaling, "LENGTHS", (0.5, 2.0))
    monkeypatch.setattr(scaling, "run_program", run)
    suv = np.zeros((40, 40, 40), np.float32)
    suv[:, 10:30, 10:30] = 2.0
    scan = tmp_path / "scan.mha"
    write_volume(Volume(suv, Geometry((40, 40, 40), (4.0, 4.0, 4.0))), scan)
    short, long = scaling.measure(scan, DEMO_WEIGHTS, tmp_path, device=torch.device("cpu"), repeats=3)
    assert slices == [20, 80] * 3
    assert (short.length, short.windows, short.network_seconds, short.wall_seconds) == (0.5, 4, 24.0, 25.0)
    assert (long.length, long.windows, long.network_seconds, long.wall_seconds) == (2.0, 16, 96.0, 97.0)
    assert long.body_l == pytest.approx(4 * short.body_l)


def test_body_is_as_large_as_what_is_in_the_scan():
    suv = np.zeros((60, 60, 60), np.float32)
    suv[10:50, 15:45, 20:40] = 2.0  # 24,000 voxels of 0.216 ml
    grid = Geometry((60, 60, 60), (6.0, 6.0, 6.0))
    assert scaling.body_litres(Volume(suv, grid), (6.0, 6.0, 6.0)) == pytest.approx(5.184, rel=0.5)
