"""Blocks of voxels, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A block of voxels: from `start` up to but not including `stop`, along x, y, z.

    A box may begin before voxel 0 and end after the last voxel of an array; `clipped` returns the part inside.
    """

    start: Triple
    stop: Triple

    @classmethod
    def at(cls, start: Iterable[int], shape: Iterable[int]) -> Box:
        """Return the box with a given first voxel and shape."""
        first, sides = triple(start), triple(shape)
        return cls(first, _added(first, sides))

    @classmethod
    def whole(cls, shape: Triple) -> Box:
        """Return the box of all voxels of an array."""
        return cls((0, 0, 0), shape)

    @classmethod
    def around(cls, boxes: Iterable[Box]) -> Box:
        """Return the smallest box around one or more boxes."""
        starts, stops = zip(*((box.start, box.stop) for box in boxes), strict=True)
        return cls(triple(map(min, zip(*starts, strict=True))), triple(map(max, zip(*stops, strict=True))))

    @property
    def shape(self) -> Triple:
        """Number of voxels along x, y, z."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        return x1 - x0, y1 - y0, z1 - z0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index into an array [X, Y, Z] that holds the whole box.

        Raises
        ------
        ValueError
            If the box begins before voxel 0: numpy would count from the end.
        """
        if min(self.start) < 0:
            raise ValueError(f"a box that begins at {self.start} cannot be an index; clip or shift it first")
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    def shifted(self, by: Iterable[int]) -> Box:
        """Return the box moved by a number of voxels along x, y, z."""
        offset = triple(by)
        return Box(_added(self.start, offset), _added(self.stop, offset))

    def relative_to(self, outer: Box) -> Box:
        """Return the same voxels, counted from the start of another box."""
        x, y, z = outer.start
        return self.shifted((-x, -y, -z))

    def clipped(self, outer: Box) -> Box:
        """Return the part inside another box; a side of it is 0 if the boxes have no voxel in common."""
        start = triple(map(max, self.start, outer.start))
        stop = triple(map(min, self.stop, outer.stop))
        return Box(start, triple(map(max, start, stop)))

    def meets(self, other: Box) -> bool:
        """Whether the two boxes have a voxel in common."""
        return all(a < d and c < b for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True))

    def grown(self, margin: Iterable[int]) -> Box:
        """Return the box with a margin, in voxels along x, y, z, on both sides."""
        x, y, z = triple(margin)
        return Box(_added(self.start, (-x, -y, -z)), _added(self.stop, (x, y, z)))


def triple(values: Iterable[int]) -> Triple:
    """Return three whole numbers, of any type and in any container, as a tuple of int."""
    x, y, z = (int(value) for value in values)
    return x, y, z


def _added(a: Triple, b: Triple) -> Triple:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
