"""Sprites: many grey pictures of the same size in one JPEG, as data URLs for a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

QUALITIES = (85, 75, 60, 45, 30)  # of JPEG
MAX_SIDE = 8192  # pixels: what all browsers and phones decode


def encode_jpeg(grey: np.ndarray, quality: int) -> bytes:
    """Return uint8 [rows, columns] as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Return the URL that holds a file; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Put pictures [picture, rows, columns] side by side, `columns` in a row; places that are left over are white."""
    count, height, width = pictures.shape
    rows = -(-count // columns)
    tiles = np.full((rows * columns, height, width), 255, pictures.dtype)
    tiles[:count] = pictures
    return tiles.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def encode_sprites(pictures: np.ndarray, *, columns: int, rows: int, max_bytes: int) -> list[bytes]:
    """Encode pictures as sprites of at most `columns` × `rows`, with the best quality that keeps the limit.

    Parameters
    ----------
    pictures
        uint8 [picture, rows, columns].
    columns, rows
        Of pictures in a sprite; fewer where a side would have more than 8192 pixels.
    max_bytes
        Limit of all sprites together; with the lowest quality it may be exceeded.
    """
    columns, rows = sprite_grid(pictures.shape, columns, rows)
    starts = range(0, len(pictures), columns * rows)
    tiles = [tile(pictures[start : start + columns * rows], columns) for start in starts]
    sprites: list[bytes] = []
    for quality in QUALITIES:
        sprites = [encode_jpeg(grey, quality) for grey in tiles]
        if sum(map(len, sprites)) <= max_bytes:
            break
    return sprites


def sprite_grid(shape: tuple[int, ...], columns: int, rows: int) -> tuple[int, int]:
    """Return how many pictures of a shape [picture, rows, columns] a sprite holds across and down."""
    _, height, width = shape
    return max(1, min(columns, MAX_SIDE // width)), max(1, min(rows, MAX_SIDE // height))
