from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from example_report import display_of, lesions_of, scan_with_balls
from PIL import Image

from swfastedit_core import Geometry, Volume
from swfastedit_core.report.pictures import slices as slices_module
from swfastedit_core.report.pictures.runs import encode_runs
from swfastedit_core.report.pictures.slices import encode_slices
from swfastedit_core.report.pictures.sprites import encode_sprites, tile


def decoded(runs, shape):
    """Draw runs, as the script of the page does."""
    counts, starts, lengths, numbers = (
        np.frombuffer(base64.b64decode(runs[name]), dtype)
        for name, dtype in (("counts", "<u4"), ("starts", "<u4"), ("lengths", "<u2"), ("numbers", "<u2"))
    )
    pictures = np.zeros((shape[0], shape[1] * shape[2]), np.uint16)
    assert len(counts) == shape[0]
    for picture, start, length, number in zip(
        np.repeat(np.arange(len(counts)), counts), starts, lengths, numbers, strict=True
    ):
        pictures[picture, start : start + length] = number
    return pictures.reshape(shape)


def images(encoded):
    """Return the slices as they are in the sprites, uint8 [slice, rows, columns]."""
    found = []
    for url in encoded["sprites"]:
        sprite = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))))
        rows, columns = encoded["rows"], encoded["columns"]
        assert sprite.shape[1] == encoded["across"] * columns
        found += [
            sprite[y : y + rows, x : x + columns]
            for y in range(0, sprite.shape[0], rows)
            for x in range(0, sprite.shape[1], columns)
        ]
    return np.stack(found)[: encoded["count"]]


def test_runs_hold_every_lesion_pixel():
    numbers = np.zeros((3, 4, 6), np.uint16)
    numbers[0, 0] = [1, 1, 0, 2, 2, 3]  # at both borders, and two lesions that touch
    numbers[0, 3, 5] = 65535
    numbers[2, 1] = 7  # a whole row
    assert np.array_equal(decoded(encode_runs(numbers), numbers.shape), numbers)
    assert encode_runs(np.zeros((2, 3, 4), np.uint16))["starts"] == ""
    noise = np.random.default_rng(0).integers(0, 3, (5, 30, 40)).astype(np.uint16)
    assert np.array_equal(decoded(encode_runs(noise), noise.shape), noise)


def test_slices_show_the_patients_right_on_the_left_and_the_front_on_top():
    pet, numbers = scan_with_balls((45, 12, 38, 3))  # towards the patient's left, front and head
    display = display_of(pet, numbers)
    encoded, factor = encode_slices(display)
    assert factor == 1
    assert encoded["pixel_mm"] == (4.0, 4.0)
    pictures = images(encoded)
    assert np.abs(pictures.astype(int) - (255 - display.grey.astype(int))).mean() < 3
    drawn = decoded(encoded["runs"], pictures.shape)
    assert np.array_equal(drawn, display.numbers)
    slices, rows, columns = np.nonzero(drawn)
    assert rows.mean() < encoded["rows"] / 2 < encoded["columns"] / 2 < columns.mean()
    position_mm = encoded["first_mm"] + slices.mean() * encoded["step_mm"]
    assert position_mm == pytest.approx(-900 + 45 * 5.0)


@pytest.mark.parametrize("turned", [False, True])
def test_slice_position_is_the_patient_coordinate_whatever_the_direction_of_the_file(turned):
    pet, numbers = scan_with_balls((45, 12, 38, 3))
    if turned:
        direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
        geometry = Geometry(pet.geometry.size_xyz, pet.geometry.spacing_mm, (-100.0, -80.0, -605.0), direction)
        pet, numbers = Volume(pet.array_zyx[::-1], geometry), numbers[::-1]
    display = display_of(pet, numbers)
    first_mm, step_mm = display.slice_mm()
    (position,) = display.positions(lesion.centroid_xyz for lesion in lesions_of(pet, numbers))
    assert first_mm + position[0] * step_mm == pytest.approx(-900 + 45 * 5.0)
    assert display.numbers[tuple(np.rint(position).astype(int))] == 1


def test_large_scans_are_reduced_and_keep_small_lesions(monkeypatch):
    pet, numbers = scan_with_balls((30, 20, 25, 0))  # one voxel
    monkeypatch.setattr(slices_module, "MAX_PIXELS", 30_000)
    display = display_of(pet, numbers)
    encoded, factor = encode_slices(display)
    assert factor == 2
    assert encoded["pixel_mm"] == (8.0, 8.0)
    assert encoded["count"] * encoded["rows"] * encoded["columns"] <= 30_000
    assert np.count_nonzero(decoded(encoded["runs"], (encoded["count"], encoded["rows"], encoded["columns"]))) == 1
    middle = images(encoded)[10][encoded["rows"] // 2, encoded["columns"] // 2]
    assert middle == pytest.approx(255 - 25.5, abs=6)  # the trunk has SUV 1: a mean, not a sum


def test_sprites_keep_their_limit_by_their_quality():
    noise = np.random.default_rng(0).integers(0, 256, (12, 60, 70)).astype(np.uint8)
    free = encode_sprites(noise, columns=4, rows=2, max_bytes=10**9)
    assert len(free) == 2  # eight and four pictures
    limit = int(0.6 * sum(map(len, free)))
    small = encode_sprites(noise, columns=4, rows=2, max_bytes=limit)
    assert sum(map(len, small)) <= limit
    assert Image.open(io.BytesIO(small[0])).size == (280, 120)


def test_places_left_over_are_white():
    tiles = tile(np.zeros((3, 2, 2), np.uint8), 2)
    assert tiles.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 255, 255], [0, 0, 255, 255]]
