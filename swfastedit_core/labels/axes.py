"""Flips and permutations of array axes: the same voxels in another order, without interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.volume import Geometry, Volume

LPS = np.eye(3)


@dataclass(frozen=True)
class Turn:
    """New array axes.

    Attributes
    ----------
    order
        For each new axis x, y, z, which old axis it is.
    flipped
        For each new axis, whether it runs against the old one.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]


def find_turn(geometry: Geometry, axes: np.ndarray = LPS) -> Turn | None:
    """Return how array axes become the closest ones to given axes.

    Parameters
    ----------
    geometry
        The grid with the old axes.
    axes
        Orthonormal, [3, 3]: column i is the direction of the new axis i in LPS.

    Returns
    -------
    Turn or None
        None if an old axis would be the closest to two new ones.
    """
    cosines = geometry.axes_lps.T @ axes  # row: old axis, column: new axis
    order = np.abs(cosines).argmax(axis=0)
    if sorted(order) != [0, 1, 2]:
        return None
    flipped = cosines[order, [0, 1, 2]] < 0
    return Turn(tuple(map(int, order)), tuple(map(bool, flipped)))


def turn_array(array_zyx: np.ndarray, turn: Turn) -> np.ndarray:
    """Return the voxels along the new axes, [Z, Y, X], contiguous."""
    x, y, z = (slice(None, None, -1 if flip else 1) for flip in turn.flipped)
    array_xyz = array_zyx.transpose(2, 1, 0).transpose(turn.order)[x, y, z]
    return np.ascontiguousarray(array_xyz.transpose(2, 1, 0))


def turn_volume(volume: Volume, turn: Turn) -> Volume:
    """Return the voxels along the new axes, at the same places in the patient."""
    geometry, order, flipped = volume.geometry, list(turn.order), np.array(turn.flipped)
    size = np.array(geometry.size_xyz)[order]
    spacing_mm = np.array(geometry.spacing_mm)[order]
    axes = geometry.axes_lps[:, order]
    first = np.where(flipped, size - 1, 0)  # the new voxel (0, 0, 0), counted along the axes before they are flipped
    origin_mm = axes @ (first * spacing_mm) + geometry.origin_mm
    turned = Geometry(
        (int(size[0]), int(size[1]), int(size[2])),
        (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])),
        (float(origin_mm[0]), float(origin_mm[1]), float(origin_mm[2])),
        tuple(map(float, (axes * np.where(flipped, -1, 1)).ravel())),
    )
    return Volume(turn_array(volume.array_zyx, turn), turned)
