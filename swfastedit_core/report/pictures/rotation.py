"""A maximum-intensity projection that turns: projections around the patient's long axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from swfastedit_core.report.pictures.display import Display
from swfastedit_core.report.pictures.runs import Runs, encode_runs
from swfastedit_core.report.pictures.sprites import QUALITIES, data_url, encode_jpeg, sprite_grid, tile

VIEWS = 36
SMALLEST_PIXEL_MM = 2.0  # smaller voxels are pooled: no screen shows them at the size of a patient
MAX_BYTES = 1_400_000  # of the JPEG; base64 adds a third
ACROSS = 6  # views in a row of the sprite
STEP = 0.4  # of a pixel along a ray: the ray nearest to a voxel's centre runs 0.41 pixels in it, or more
EMPTY_GREY = 8  # columns at the sides that are not above this grey value in any view are left out


@dataclass(frozen=True, eq=False)
class Rotation:
    """Projections around the long axis.

    View 0 is seen from the front; view k is seen from k · 10 degrees towards the patient's left: view 9 from the left,
    view 18 from the back. View k + 18 is the mirror image of view k, so that only the first 18 are here.

    Attributes
    ----------
    grey
        uint8 [view, rows, columns]; row 0 is nearest to the feet.
    numbers
        uint16, same shape: the number of the smallest lesion on the ray, 0 without one.
    pixel_mm
        Height and width of a pixel.
    positions_mm
        Of the given points, float64 [N, 3]: upwards from the middle of row 0, and to the back and to the patient's
        left from the axis of rotation.
    slice_up_mm
        Height of the display's slice 0 above the middle of row 0, and the step from slice to slice.
    """

    grey: np.ndarray
    numbers: np.ndarray
    pixel_mm: tuple[float, float]
    positions_mm: np.ndarray
    slice_up_mm: tuple[float, float]


def rotate(display: Display, points_spl: np.ndarray) -> Rotation:
    """Project a scan and its lesions from 18 sides.

    After maximum pooling to about 2 mm, the nearest voxels along each ray are taken. None is missed: the hottest voxel
    keeps its value. At 0 and 90 degrees the projection is that along the axes.

    Parameters
    ----------
    display
        The scan.
    points_spl
        Positions in `display.grey` that `Rotation.positions_mm` holds, float64 [N, 3].
    """
    factors = [max(1, round(SMALLEST_PIXEL_MM / mm)) for mm in display.voxel_mm]
    height_mm, *_ = voxel_mm = [factor * mm for factor, mm in zip(factors, display.voxel_mm, strict=True)]
    grey, numbers = (_pool(array, factors) for array in (display.grey, display.numbers))
    width_mm = min(voxel_mm[1:])
    gathers = _gathers((grey.shape[1], grey.shape[2]), (voxel_mm[1], voxel_mm[2]), width_mm)
    grey_views, number_views = (
        np.stack([_project(columns, gather).T for gather in gathers]) for columns in map(_columns, (grey, numbers))
    )
    kept = _occupied(grey_views, number_views)
    pooled = (points_spl - (np.array(factors) - 1) / 2.0) / factors
    axis = np.array([0.0, (grey.shape[1] - 1) / 2.0, (grey.shape[2] - 1) / 2.0])
    return Rotation(
        grey_views[:, :, kept],
        number_views[:, :, kept],
        (height_mm, width_mm),
        (pooled - axis) * voxel_mm,
        ((1 - factors[0]) / 2.0 * display.voxel_mm[0], display.voxel_mm[0]),
    )


def _pool(array: np.ndarray, factors: list[int]) -> np.ndarray:
    """Return the maximum of blocks; the last block of an axis may be incomplete."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            first = np.arange(0, array.shape[axis], factor)
            array = np.maximum.reduceat(array, first, axis=axis)
    return array


def _columns(array: np.ndarray) -> np.ndarray:
    """Return the columns along S as rows, [P · L + 1, S]; the last one is empty."""
    height, depth, width = array.shape
    columns = np.zeros((depth * width + 1, height), array.dtype)
    columns[:-1] = array.transpose(1, 2, 0).reshape(-1, height)
    return columns


def _gathers(shape: tuple[int, int], spacing_mm: tuple[float, float], pixel_mm: float) -> list[np.ndarray]:
    """Return for each view the voxel (an index over P, L) at each step along each ray, [steps, pixels].

    Steps outside of the scan have the index of the empty column. Steps that are empty for all rays are left out.
    """
    back_count, left_count = shape
    diagonal_mm = np.hypot(back_count * spacing_mm[0], left_count * spacing_mm[1])
    pixels = int(np.ceil(diagonal_mm / pixel_mm))
    pixels += (pixels - left_count) % 2  # seen from the front, rays run through the centres of voxels
    across = _centred(pixels, pixel_mm)
    along = _centred(int(np.ceil(diagonal_mm / (STEP * pixel_mm))), STEP * pixel_mm)[:, None]
    gathers = []
    for view in range(VIEWS // 2):
        angle = 2.0 * np.pi * view / VIEWS
        cosine, sine = np.cos(angle), np.sin(angle)
        left = _nearest(across * cosine - along * sine, left_count, spacing_mm[1])
        back = _nearest(across * sine + along * cosine, back_count, spacing_mm[0])
        inside = (back >= 0) & (back < back_count) & (left >= 0) & (left < left_count)
        index = np.where(inside, back * left_count + left, back_count * left_count)
        gathers.append(index[inside.any(axis=1)])
    return gathers


def _centred(count: int, step_mm: float) -> np.ndarray:
    """Return evenly spaced coordinates around 0."""
    centred: np.ndarray = (np.arange(count) - (count - 1) / 2.0) * step_mm
    return centred


def _nearest(position_mm: np.ndarray, count: int, spacing_mm: float) -> np.ndarray:
    """Return the nearest of `count` voxels around 0; halfway between two always the lower one."""
    nearest: np.ndarray = np.rint(position_mm / spacing_mm + (count - 1) / 2.0 - 1e-6).astype(np.int64)
    return nearest


def _project(columns: np.ndarray, gather: np.ndarray) -> np.ndarray:
    """Return the maximum along rays, [pixels, S]."""
    projected: np.ndarray = columns[gather[0]]
    met = np.empty_like(projected)
    for index in gather[1:]:
        np.take(columns, index, axis=0, out=met, mode="clip")
        np.maximum(projected, met, out=projected)
    return projected


def _occupied(grey: np.ndarray, numbers: np.ndarray) -> slice:
    """Return the columns to keep, the same number left out on both sides."""
    occupied = np.flatnonzero((grey > EMPTY_GREY).any(axis=(0, 1)) | (numbers > 0).any(axis=(0, 1)))
    if not len(occupied):
        return slice(None)
    width = grey.shape[2]
    margin = max(0, min(int(occupied[0]), width - 1 - int(occupied[-1])) - 2)
    return slice(margin, width - margin)


class TurningMip(TypedDict):
    """The projections for a page. Row 0 is nearest to the head.

    Attributes
    ----------
    sprite
        Data URL of a JPEG of the first 18 views.
    across
        Views in a row of the sprite.
    views
        Number of views of a turn, those that are mirror images included.
    rows, columns
        Pixels of a view.
    pixel_mm
        Height and width of a pixel.
    slice_up_mm
        As in `Rotation`.
    runs
        The lesions in the first 18 views.
    """

    sprite: str
    across: int
    views: int
    rows: int
    columns: int
    pixel_mm: tuple[float, float]
    slice_up_mm: tuple[float, float]
    runs: Runs


def encode_rotation(rotation: Rotation) -> TurningMip:
    """Return projections for a page."""
    views = 255 - rotation.grey[:, ::-1]
    across, down = sprite_grid(views.shape, ACROSS, len(views))
    while across * down < len(views):  # a long patient in fine voxels: larger sprites than most
        across += 1
    return TurningMip(
        sprite=data_url(_encode_views(views, across), "image/jpeg"),
        across=across,
        views=VIEWS,
        rows=views.shape[1],
        columns=views.shape[2],
        pixel_mm=rotation.pixel_mm,
        slice_up_mm=rotation.slice_up_mm,
        runs=encode_runs(rotation.numbers[:, ::-1]),
    )


def best_views(positions_mm: np.ndarray) -> list[int]:
    """Return for each lesion the view from its side of the body.

    Parameters
    ----------
    positions_mm
        Of `Rotation`.
    """
    turns = np.arctan2(positions_mm[:, 2], -positions_mm[:, 1]) / (2.0 * np.pi)
    views: list[int] = (np.rint(turns * VIEWS).astype(int) % VIEWS).tolist()
    return views


def _encode_views(views: np.ndarray, across: int) -> bytes:
    """Return the sprite, with the best quality that keeps the limit."""
    sprite = tile(views, across)
    content = b""
    for quality in QUALITIES:
        content = encode_jpeg(sprite, quality)
        if len(content) <= MAX_BYTES:
            break
    return content
