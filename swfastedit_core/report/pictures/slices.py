"""Axial slices of a scan and its lesions for a page."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from swfastedit_core.report.pictures.display import Display
from swfastedit_core.report.pictures.runs import Runs, encode_runs
from swfastedit_core.report.pictures.sprites import data_url, encode_sprites, sprite_grid

MAX_PIXELS = 20_000_000  # of all slices; beyond, 2 × 2 pixels are averaged
MAX_BYTES = 3_000_000  # of the JPEGs; base64 adds a third
ACROSS, DOWN = 8, 5  # slices in a sprite


class Slices(TypedDict):
    """Axial slices: row 0 is the front, column 0 the patient's right, slice 0 nearest to the feet.

    Attributes
    ----------
    sprites
        Data URLs of JPEGs.
    across, down
        Slices in a row and in a column of a sprite.
    count, rows, columns
        Slices, and their pixels.
    pixel_mm
        Height and width of a pixel.
    first_mm, step_mm
        Patient coordinate S of slice 0, and from slice to slice.
    runs
        The lesions.
    """

    sprites: list[str]
    across: int
    down: int
    count: int
    rows: int
    columns: int
    pixel_mm: tuple[float, float]
    first_mm: float
    step_mm: float
    runs: Runs


def encode_slices(display: Display) -> tuple[Slices, int]:
    """Return the slices of a scan, and how many voxels a pixel of them averages along each side."""
    grey, numbers = display.grey, display.numbers
    factor = 1
    while grey.size > MAX_PIXELS and min(grey.shape[1:]) > 1:
        grey, numbers = _halve_grey(grey), _halve_numbers(numbers)
        factor *= 2
    count, rows, columns = grey.shape
    across, down = sprite_grid(grey.shape, ACROSS, DOWN)
    sprites = encode_sprites(255 - grey, columns=across, rows=down, max_bytes=MAX_BYTES)
    first_mm, step_mm = display.slice_mm()
    height_mm, width_mm = display.voxel_mm[1] * factor, display.voxel_mm[2] * factor
    slices = Slices(
        sprites=[data_url(sprite, "image/jpeg") for sprite in sprites],
        across=across,
        down=down,
        count=count,
        rows=rows,
        columns=columns,
        pixel_mm=(height_mm, width_mm),
        first_mm=first_mm,
        step_mm=step_mm,
        runs=encode_runs(numbers),
    )
    return slices, factor


def _halve_grey(grey: np.ndarray) -> np.ndarray:
    """Return the means of 2 × 2 pixels of each slice; a last odd row or column is repeated."""
    even = np.pad(grey, ((0, 0), (0, grey.shape[1] % 2), (0, grey.shape[2] % 2)), mode="edge")
    total = even[:, ::2, ::2].astype(np.uint16)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += even[:, row::2, column::2]
    return ((total + 2) // 4).astype(np.uint8)


def _halve_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return the highest number in 2 × 2 pixels: the smallest lesion."""
    even = np.pad(numbers, ((0, 0), (0, numbers.shape[1] % 2), (0, numbers.shape[2] % 2)))
    rows = np.maximum(even[:, ::2], even[:, 1::2])
    halved: np.ndarray = np.maximum(rows[:, :, ::2], rows[:, :, 1::2])
    return halved
