"""Solids in patient millimetres (LPS), each described by the signed distance to its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from swfastedit_core.phantom.smooth_noise import SmoothNoise
from swfastedit_core.phantom.space import Array, Bounds, Points, Vector, as_tuple, as_vector

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


class Shape(Protocol):
    """A solid, described by its bounds and its distance function."""

    @property
    def bounds(self) -> Bounds:
        """A box that contains the solid."""
        ...

    def distance_mm(self, points: Points) -> Array:
        """Return the signed distance to the surface, float32, negative inside; it is exact only near the surface."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; column i of `axes` (row-major, 3 by 3) is the direction of half axis i."""

    centre_mm: Vector
    radii_mm: Vector
    axes: tuple[float, ...] = IDENTITY

    @property
    def bounds(self) -> Bounds:
        """The tight bounds."""
        axes = np.reshape(self.axes, (3, 3))
        half = np.sqrt(((axes * self.radii_mm) ** 2).sum(axis=1))
        return Bounds(as_vector(self.centre_mm - half), as_vector(self.centre_mm + half))

    def distance_mm(self, points: Points) -> Array:
        """Return the distance to first order: value of the quadric divided by the length of its gradient."""
        x, y, z = (p - c for p, c in zip(points, self.centre_mm, strict=True))
        level: Array = np.full(1, 1e-12, np.float32)
        slope: Array = np.full(1, 1e-12 / min(self.radii_mm) ** 2, np.float32)
        for i, radius in enumerate(self.radii_mm):
            ax, ay, az = self.axes[i] / radius, self.axes[3 + i] / radius, self.axes[6 + i] / radius
            along = _combined((x, ax), (y, ay), (z, az))
            squared = along * along
            level = level + squared
            slope = slope + squared * (1 / radius**2)
        level = np.sqrt(level)
        distance: Array = (level - 1) * level / np.sqrt(slope)
        return distance


@dataclass(frozen=True)
class Capsule:
    """A capsule; its radius changes linearly from start to end."""

    start_mm: Vector
    end_mm: Vector
    start_radius_mm: float
    end_radius_mm: float

    @property
    def bounds(self) -> Bounds:
        """The bounds of a capsule with the larger radius at both ends."""
        radius = max(self.start_radius_mm, self.end_radius_mm)
        ends = np.array([self.start_mm, self.end_mm])
        return Bounds(as_vector(ends.min(axis=0)), as_vector(ends.max(axis=0))).grown(radius)

    def distance_mm(self, points: Points) -> Array:
        """Return the distance to the axis minus the radius there."""
        x, y, z = (p - s for p, s in zip(points, self.start_mm, strict=True))
        ax, ay, az = (e - s for e, s in zip(self.end_mm, self.start_mm, strict=True))
        squared = max(ax * ax + ay * ay + az * az, 1e-6)
        along = np.clip(_combined((x, ax / squared), (y, ay / squared), (z, az / squared)), 0, 1)
        away: Array = np.sqrt((x - along * ax) ** 2 + (y - along * ay) ** 2 + (z - along * az) ** 2)
        return away - (self.start_radius_mm + along * (self.end_radius_mm - self.start_radius_mm))


@dataclass(frozen=True)
class Sections:
    """A stack of transverse sections, interpolated along z. The shape of a section is between ellipse and rectangle.

    Attributes
    ----------
    z_mm
        Levels, rising.
    half_x_mm, half_y_mm
        Half width and half depth of the section at each level.
    centre_x_mm, centre_y_mm
        Centre of the section at each level.
    squareness
        0 is an ellipse, 1 a rectangle (Fong's squircle u + v - s² u v = 1).
    """

    z_mm: tuple[float, ...]
    half_x_mm: tuple[float, ...]
    half_y_mm: tuple[float, ...]
    centre_x_mm: tuple[float, ...]
    centre_y_mm: tuple[float, ...]
    squareness: float

    @property
    def bounds(self) -> Bounds:
        """The tight bounds."""
        x, y = np.array(self.centre_x_mm), np.array(self.centre_y_mm)
        dx, dy = np.array(self.half_x_mm), np.array(self.half_y_mm)
        low = (float((x - dx).min()), float((y - dy).min()), self.z_mm[0])
        return Bounds(low, (float((x + dx).max()), float((y + dy).max()), self.z_mm[-1]))

    def distance_mm(self, points: Points) -> Array:
        """Return (relative radius - 1) × smaller half axis; the ends are flat."""
        x, y, z = points
        half_x, half_y = self._level(z, self.half_x_mm), self._level(z, self.half_y_mm)
        u = ((x - self._level(z, self.centre_x_mm)) / half_x) ** 2
        v = ((y - self._level(z, self.centre_y_mm)) / half_y) ** 2
        product = np.minimum(u, 1) * np.minimum(v, 1)
        radius = np.sqrt(np.maximum(u + v - self.squareness**2 * product, 0))
        side = (radius - 1) * np.minimum(half_x, half_y)
        distance: Array = np.maximum(side, np.maximum(z - self.z_mm[-1], self.z_mm[0] - z))
        return distance

    def shrunk(self, margin_mm: float, *, low_mm: float = -np.inf, high_mm: float = np.inf) -> Sections:
        """Return the stack reduced by a margin, and cut to the levels from low to high."""
        inside = [z for z in self.z_mm if low_mm < z < high_mm]
        levels = np.array([max(low_mm, self.z_mm[0]), *inside, min(high_mm, self.z_mm[-1])])
        return Sections(
            as_tuple(levels),
            as_tuple(np.maximum(np.interp(levels, self.z_mm, self.half_x_mm) - margin_mm, 2)),
            as_tuple(np.maximum(np.interp(levels, self.z_mm, self.half_y_mm) - margin_mm, 2)),
            as_tuple(np.interp(levels, self.z_mm, self.centre_x_mm)),
            as_tuple(np.interp(levels, self.z_mm, self.centre_y_mm)),
            self.squareness,
        )

    def _level(self, z: Array, values: tuple[float, ...]) -> Array:
        return np.interp(z, self.z_mm, values).astype(np.float32)


@dataclass(frozen=True)
class Union:
    """The union of solids."""

    parts: tuple[Shape, ...]

    @property
    def bounds(self) -> Bounds:
        """The bounds of all parts."""
        boxes = [part.bounds for part in self.parts]
        low = np.min([box.low_mm for box in boxes], axis=0)
        return Bounds(as_vector(low), as_vector(np.max([box.high_mm for box in boxes], axis=0)))

    def distance_mm(self, points: Points) -> Array:
        """Return the smallest distance of all parts."""
        return reduce(np.minimum, [part.distance_mm(points) for part in self.parts])


@dataclass(frozen=True)
class Intersection:
    """The part of a shape inside another shape."""

    shape: Shape
    inside: Shape

    @property
    def bounds(self) -> Bounds:
        """The bounds of the shape."""
        return self.shape.bounds

    def distance_mm(self, points: Points) -> Array:
        """Return the larger of the two distances."""
        return np.maximum(self.shape.distance_mm(points), self.inside.distance_mm(points))


@dataclass(frozen=True)
class Displaced:
    """A shape whose surface is displaced by smooth noise, in mm."""

    shape: Shape
    displacement: SmoothNoise

    @property
    def bounds(self) -> Bounds:
        """The bounds of the shape with a margin for the displacement."""
        return self.shape.bounds.grown(self.displacement.peak)

    def distance_mm(self, points: Points) -> Array:
        """Return the distance of the shape plus the noise."""
        return self.shape.distance_mm(points) + self.displacement.at(points)


def tube(centres_mm: Sequence[Vector], radii_mm: Sequence[float]) -> tuple[Capsule, ...]:
    """Return a tube through points: one capsule for each pair of neighbours."""
    pairs = zip(centres_mm[:-1], centres_mm[1:], radii_mm[:-1], radii_mm[1:], strict=True)
    return tuple(Capsule(a, b, ra, rb) for a, b, ra, rb in pairs)


def rotation(degrees_xyz: Vector) -> tuple[float, ...]:
    """Return the matrix of the rotation about x, then y, then z, row by row."""
    return as_tuple(Rotation.from_euler("xyz", degrees_xyz, degrees=True).as_matrix().ravel())


def _combined(*terms: tuple[Array, float]) -> Array:
    """Return the weighted sum. Terms of weight 0 are left out, so that axis-aligned shapes need smaller arrays."""
    kept = [values * np.float32(weight) for values, weight in terms if weight != 0.0]
    return reduce(np.add, kept) if kept else np.zeros(1, np.float32)
