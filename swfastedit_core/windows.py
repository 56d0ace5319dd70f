"""Which windows to run, as plain values.

A plan can be printed, counted and tested without a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from swfastedit_core.body import Body
from swfastedit_core.box import Box, Triple, triple
from swfastedit_core.errors import UserError

# Windows of the body plan may be this share of a step further apart, if this saves a window.
STRETCH = 0.25


@dataclass(frozen=True)
class WindowPlan:
    """The windows of one image, in voxels of that image along x, y, z.

    If the image is smaller than the window along an axis, the window starts before voxel 0 and ends after the last
    voxel.

    Attributes
    ----------
    image
        Shape of the image.
    window
        Sides of every window.
    starts
        First voxel of each window, in the order in which they run (x slowest). May be empty.
    """

    image: Triple
    window: Triple
    starts: tuple[Triple, ...]

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The voxels of each window."""
        return tuple(Box.at(start, self.window) for start in self.starts)

    @cached_property
    def region(self) -> Box:
        """The part of the image inside the box around all windows; windows may leave gaps in it."""
        return Box.around(self.boxes).clipped(Box.whole(self.image)) if self.starts else Box.whole((0, 0, 0))


def plan_windows(image: Triple, *, window: Triple, overlap: float, body: Body | None = None) -> WindowPlan:
    """Plan the windows of an image, or of the body in it.

    Without a body the positions are those of MONAI's ``sliding_window_inference``: steps of
    ``int(window * (1 - overlap))``; the last window of each axis is moved back to end with the image. With a body,
    windows are spread evenly along z over the body's extent, and at each z position along x and y over the extent
    that the body has there. Neighbours may then be up to a quarter of a step further apart, if this saves a window.

    Parameters
    ----------
    image
        Shape [X, Y, Z] of the image.
    window
        Sides of a window. If the image is smaller along an axis, one window is centred on it.
    overlap
        Share of a window's side that neighbours have in common, 0 ≤ overlap < 1.
    body
        The patient's position; None covers the whole image.

    Returns
    -------
    WindowPlan
        At least one window.

    Raises
    ------
    UserError
        If the overlap is out of range.
    """
    if not 0.0 <= overlap < 1.0:
        raise UserError(f"overlap {overlap}, expected 0 or more and less than 1")
    room = _room(image, window)
    if body is None:
        along = (_offsets(room.start[axis], room.stop[axis], window[axis], overlap) for axis in range(3))
        return WindowPlan(image, window, tuple(triple(start) for start in product(*along)))
    starts: list[Triple] = []
    patient = body.box(0, image[2])
    assert patient is not None  # a body has at least one cell
    for z in _spread(*_widened(patient, 2, window, room), window[2], overlap):
        here = body.box(z, z + window[2])
        if here is not None:
            x_and_y = (_spread(*_widened(here, axis, window, room), window[axis], overlap) for axis in (0, 1))
            starts += [(x, y, z) for x, y in product(*x_and_y)]
    return WindowPlan(image, window, tuple(sorted(starts)))


def _room(image: Triple, window: Triple) -> Box:
    """Return the box that windows may cover: the image, or a window centred on it along an axis that is shorter."""
    missing = [max(side - length, 0) for side, length in zip(window, image, strict=True)]
    start = triple(-(m // 2) for m in missing)
    return Box.at(start, [length + m for length, m in zip(image, missing, strict=True)])


def _offsets(start: int, stop: int, window: int, overlap: float) -> list[int]:
    """Return MONAI's window positions along one axis from `start` to `stop`, which are at least a window apart."""
    step = max(int(window * (1 - overlap)), 1)
    return [*range(start, stop - window, step), stop - window]


def _spread(start: int, stop: int, window: int, overlap: float) -> list[int]:
    """Return evenly spaced window positions from `start` to `stop`.

    MONAI moves only the last window back, so its last two windows can nearly coincide.
    """
    room = stop - start - window
    step = max(int(window * (1 - overlap)), 1)
    gaps = max(math.ceil(room / step - STRETCH), math.ceil(room / window))
    return [start + round(room * number / gaps) for number in range(gaps + 1)] if gaps else [start]


def _widened(box: Box, axis: int, window: Triple, room: Box) -> tuple[int, int]:
    """Return start and stop of a box along an axis, at least a window apart, inside the box `room`."""
    start, stop = box.start[axis], box.stop[axis]
    missing = window[axis] - (stop - start)
    if missing <= 0:
        return start, stop
    start = min(max(start - missing // 2, room.start[axis]), room.stop[axis] - window[axis])
    return start, start + window[axis]
