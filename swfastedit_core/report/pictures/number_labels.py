"""Places of lesion numbers beside their lesions, so that they cover neither each other nor a lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

DISTANCES = (6, 12, 20, 32, 48)  # pixels between a lesion's outline and its number
DIRECTIONS = 16
# Cosine and sine of the directions, to the right first, then both neighbours, then theirs; as pairs of plain floats,
# which are several times as fast as numpy's.
TURNS = [
    (math.cos(turn), math.sin(turn))
    for turn in sorted((2 * math.pi * i / DIRECTIONS for i in range(DIRECTIONS)), key=lambda t: min(t, 2 * math.pi - t))
]
GAP = 2  # pixels around a number


@dataclass(frozen=True)
class Label:
    """A number in a picture.

    Attributes
    ----------
    number
        Of the lesion.
    box
        Left, top, right, bottom of the text in pixels.
    start, end
        x, y of the line from the lesion to the text.
    """

    number: int
    box: tuple[int, int, int, int]
    start: tuple[float, float]
    end: tuple[float, float]


def place_labels(
    boxes: dict[int, tuple[float, float, float, float]], sizes: dict[int, tuple[int, int]], occupied: np.ndarray
) -> list[Label]:
    """Place numbers beside lesions, those of the first lesions first; a number without room is left out.

    Parameters
    ----------
    boxes
        Left, top, right, bottom of each lesion in pixels, by number.
    sizes
        Width and height of each number's text.
    occupied
        bool [rows, columns]: pixels that no text may cover.
    """
    taken = np.array(occupied, dtype=bool)
    texts = np.zeros_like(taken)
    labels: list[Label] = []
    for number, box in boxes.items():
        label = _place(number, box, sizes[number], taken, texts)
        if label is not None:
            labels.append(label)
            left, top, right, bottom = label.box
            around = np.s_[max(0, top - GAP) : bottom + GAP, max(0, left - GAP) : right + GAP]
            texts[around] = True
            taken[around] = True
            taken[_line(label.start, label.end, taken.shape)] = True
    return labels


def reach_lesion(label: Label, numbers: np.ndarray, size: tuple[float, float]) -> Label:
    """Return a label whose line starts at its lesion, also where the lesion does not fill its box.

    Parameters
    ----------
    label
        From `place_labels`.
    numbers
        Lesion numbers [rows, columns].
    size
        Width and height of an element of `numbers`, in pixels.
    """
    rows, columns = np.nonzero(numbers == label.number)
    left, top, right, bottom = label.box
    across, down = (columns + 0.5) * size[0], (rows + 0.5) * size[1]
    nearest = int(np.hypot(across - (left + right) / 2, down - (top + bottom) / 2).argmin())
    start = float(across[nearest]), float(down[nearest])
    return replace(label, start=start, end=(min(max(start[0], left), right), min(max(start[1], top), bottom)))


def _place(
    number: int,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    taken: np.ndarray,
    texts: np.ndarray,
) -> Label | None:
    """Return the nearest free place for a number, on the side away from the middle first."""
    rows, columns = taken.shape
    left, top, right, bottom = box
    x, y, half_x, half_y = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    outwards = 1.0 if x >= columns / 2 else -1.0
    for distance in DISTANCES:
        for turn_x, turn_y in TURNS:
            cosine, sine = outwards * turn_x, outwards * turn_y
            start = (x + half_x * cosine, y + half_y * sine)
            centre_x = x + (half_x + distance + size[0] / 2) * cosine
            centre_y = y + (half_y + distance + size[1] / 2) * sine
            x0, y0 = round(centre_x - size[0] / 2), round(centre_y - size[1] / 2)
            x1, y1 = x0 + size[0], y0 + size[1]
            if x0 < 0 or y0 < 0 or x1 > columns or y1 > rows or taken[y0:y1, x0:x1].any():
                continue
            end = (min(max(start[0], x0), x1), min(max(start[1], y0), y1))
            if not texts[_line(start, end, taken.shape)].any():
                return Label(number, (x0, y0, x1, y1), start, end)
    return None


def _line(
    start: tuple[float, float], end: tuple[float, float], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels on a line, those inside of the picture."""
    count = int(np.ceil(np.hypot(end[0] - start[0], end[1] - start[1]))) + 1
    columns = np.rint(np.linspace(start[0], end[0], count)).astype(int)
    rows = np.rint(np.linspace(start[1], end[1], count)).astype(int)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[inside], columns[inside]
