"""Points, vectors and bounds in patient millimetres (LPS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Vector = tuple[float, float, float]
Points = tuple[Array, Array, Array]
"""Coordinates x, y, z in mm, LPS: three float32 arrays that broadcast together. For an axis-aligned grid each of
them varies along one axis only."""


@dataclass(frozen=True)
class Bounds:
    """An axis-aligned bounding box in mm, LPS."""

    low_mm: Vector
    high_mm: Vector

    def grown(self, margin_mm: float) -> Bounds:
        """Return the bounds with a margin on every side."""
        low, high = self.low_mm, self.high_mm
        return Bounds(
            (low[0] - margin_mm, low[1] - margin_mm, low[2] - margin_mm),
            (high[0] + margin_mm, high[1] + margin_mm, high[2] + margin_mm),
        )

    def meets(self, other: Bounds) -> bool:
        """Return whether two bounding boxes share a point."""
        pairs = zip(self.low_mm, self.high_mm, other.low_mm, other.high_mm, strict=True)
        return all(low <= other_high and other_low <= high for low, high, other_low, other_high in pairs)


def as_tuple(values: NDArray[Any]) -> tuple[float, ...]:
    """Return the values of a vector as plain floats."""
    return tuple(float(value) for value in values)


def as_vector(values: NDArray[Any]) -> Vector:
    """Return three values as plain floats."""
    x, y, z = values
    return float(x), float(y), float(z)
