"""Small masks for tests of the evaluation, and the command in this process."""

from __future__ import annotations

import csv
import json
import subprocess

import numpy as np

from swfastedit_core import Geometry, Volume, write_volume

SPACING_MM = (2.0, 2.0, 2.5)  # x, y, z: a voxel is 0.01 ml
VOXEL_ML = 0.01
SHAPE = (4, 6, 8)


def mask(*boxes, shape=SHAPE, value=1):
    """Make a mask [Z, Y, X] of boxes, each (z, y, x) with a number or a slice for every axis."""
    array = np.zeros(shape, np.uint8)
    for box in boxes:
        array[box] = value
    return array


def write(array, path, *, spacing_mm=SPACING_MM, origin_mm=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """Write an array [Z, Y, X]; return the path."""
    z, y, x = array.shape
    write_volume(Volume(array, Geometry((x, y, z), spacing_mm, origin_mm, tuple(map(float, direction)))), path)
    return path


def rows(output):
    """Read metrics.csv by case, with numbers where there are any."""
    with (output / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("case"): {name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(file)}


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


def summary(output):
    """Read metrics.json; NaN and infinity, which are not JSON, fail."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads((output / "metrics.json").read_text(encoding="utf-8"), parse_constant=refuse)


def run_evaluate(capfd, *arguments):
    """Run the command in this process; return exit code and streams."""
    from swfastedit_core.evaluate.__main__ import main

    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())
