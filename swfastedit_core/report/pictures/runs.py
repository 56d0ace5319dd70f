"""Lesion numbers in pictures as runs of pixels: lossless, small, read by the page's script."""

from __future__ import annotations

import base64
from typing import TypedDict

import numpy as np


class Runs(TypedDict):
    """Runs of pixels with the same lesion number, each array as base64 of little-endian integers.

    Attributes
    ----------
    counts
        Number of runs in each picture, uint32.
    starts
        Index of the first pixel in its picture, counted along the rows, uint32.
    lengths
        Pixels, uint16.
    numbers
        Lesion number, uint16.
    """

    counts: str
    starts: str
    lengths: str
    numbers: str


def encode_runs(numbers: np.ndarray) -> Runs:
    """Encode lesion numbers in pictures.

    Parameters
    ----------
    numbers
        uint16 [picture, rows, columns], 0 outside of lesions; at most 65,535 columns.
    """
    pictures, _, columns = numbers.shape
    picture, row = np.nonzero(numbers.any(axis=2))
    lines = np.zeros((len(picture), columns + 2), np.int32)
    lines[:, 1:-1] = numbers[picture, row]
    changes = lines[:, 1:] != lines[:, :-1]
    first = np.nonzero(changes & (lines[:, 1:] != 0))
    last = np.nonzero(changes & (lines[:, :-1] != 0))
    return Runs(
        counts=_base64(np.bincount(picture[first[0]], minlength=pictures), "<u4"),
        starts=_base64(row[first[0]] * columns + first[1], "<u4"),
        lengths=_base64(last[1] - first[1], "<u2"),
        numbers=_base64(lines[first[0], first[1] + 1], "<u2"),
    )


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode("ascii")
