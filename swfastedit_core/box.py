"""Blocks of voxels, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A block of voxels: from `start` up to but not including `stop`, along x, y, z."""

    start: Triple
    stop: Triple

    @property
    def shape(self) -> Triple:
        """Number of voxels along x, y, z."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        return x1 - x0, y1 - y0, z1 - z0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index into an array [X, Y, Z]."""
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    @classmethod
    def whole(cls, shape: Triple) -> Box:
        """All of an array of this shape."""
        return cls((0, 0, 0), shape)


def triple(values: Iterable[int]) -> Triple:
    """Return three whole numbers, of whatever type and container they were, as a tuple of int."""
    x, y, z = (int(value) for value in values)
    return x, y, z
