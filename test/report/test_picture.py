from __future__ import annotations

import numpy as np
import pytest
from example_report import display_of, example_report, scan_with_balls
from PIL import Image

from swfastedit_core import Geometry, UserError, Volume
from swfastedit_core.report.pictures import mip_picture as picture_module
from swfastedit_core.report.pictures.mip_picture import HEAD, MARGIN, draw_mip, save_mip
from swfastedit_core.report.pictures.number_labels import Label, place_labels, reach_lesion
from swfastedit_core.report.pictures.projection import mip


def drawn(pet, numbers, window=(0.0, 10.0), **changes):
    """Return the display and the picture as an array, [rows, columns, RGB]."""
    report = example_report(pet, numbers, **changes)
    display = display_of(pet, numbers, window)
    return display, np.asarray(draw_mip(report, display)).astype(int)


def panels(display, picture):
    """Return the two projections of a picture, and the pixels per mm."""
    height_mm, depth_mm, width_mm = (n * mm for n, mm in zip(display.grey.shape, display.voxel_mm, strict=True))
    scale = min(1000 / height_mm, 1300 / (width_mm + depth_mm), 4.0)
    rows, front, side = (round(mm * scale) for mm in (height_mm, width_mm, depth_mm))
    start = 3 * MARGIN + front
    return (
        picture[HEAD : HEAD + rows, MARGIN : MARGIN + front],
        picture[HEAD : HEAD + rows, start : start + side],
        scale,
    )


def red(picture):
    return (picture[..., 0] > 150) & (picture[..., 1] < 120)


def test_lesion_is_on_the_side_where_it_is_in_the_patient():
    """Towards the patient's left, front and head: right in the anterior view, left in the lateral one, and high."""
    display, picture = drawn(*scan_with_balls((45, 10, 40, 3)))
    front, side, _ = panels(display, picture)
    for panel, right in ((front, True), (side, False)):
        rows, columns = np.nonzero(red(panel))
        assert (columns.mean() > panel.shape[1] / 2) == right
        assert rows.mean() < panel.shape[0] / 2


def test_projections_have_the_grey_values_and_proportions_of_the_scan():
    pet, numbers = scan_with_balls(shape_zyx=(60, 40, 50))
    pet.array_zyx[20:40, 18:22, 20:30] = 5.0
    display, picture = drawn(pet, numbers)
    front, side, scale = panels(display, picture)
    for panel, plane, size_mm in ((front, "coronal", (100.0, 40.0)), (side, "sagittal", (100.0, 16.0))):
        half_dark = np.abs(panel - 127).max(axis=2) < 6  # SUV 5 of a window of 0 to 10
        rows, columns = np.nonzero(half_dark)
        assert np.ptp(rows) + 1 == pytest.approx(size_mm[0] * scale, abs=2 * 5 * scale)
        assert np.ptp(columns) + 1 == pytest.approx(size_mm[1] * scale, abs=2 * 4 * scale)
        assert panel[1:-1, 1:-1].min() == 255 - round(25.5 * mip(pet, plane=plane).pixels.max())
    assert picture[-1].min() == 255


def test_outline_lies_around_the_lesion_and_leaves_it_free():
    display, picture = drawn(*scan_with_balls((30, 20, 25, 5)))
    front, _, scale = panels(display, picture)
    inside = np.abs(front - 51).max(axis=2) < 4  # SUV 8
    rows, columns = np.nonzero(inside)
    assert np.ptp(columns) == pytest.approx(9 * 4 * scale, abs=4 * 2 * scale)
    assert np.ptp(rows) == pytest.approx(9 * 5 * scale, abs=5 * 2 * scale)
    middle = front[int(rows.mean()), int(columns.min()) : int(columns.max())]
    assert not red(middle).any()
    line = red(front[int(rows.mean())])
    assert line[: int(columns.min()) + 2].any()
    assert line[int(columns.max()) - 2 :].any()


def test_line_starts_at_the_lesion_also_where_it_does_not_fill_its_box():
    numbers = np.zeros((20, 20), int)
    numbers[4:16, 4], numbers[15, 4:16] = 1, 1  # a wall at the left and a floor
    label = Label(1, (70, 20, 90, 30), start=(64.0, 24.0), end=(70.0, 24.0))
    assert reach_lesion(label, numbers, (4.0, 4.0)).start == (62.0, 62.0)  # the floor's right end
    assert reach_lesion(label, numbers, (4.0, 4.0)).end == (70.0, 30.0)


def test_number_without_room_is_left_out():
    """Many lesions at the same place: the first numbers are placed, the others have no free line to it."""
    boxes = dict.fromkeys(range(1, 40), (150.0, 100.0, 152.0, 102.0))
    labels = place_labels(boxes, dict.fromkeys(boxes, (24, 14)), np.zeros((200, 300), bool))
    assert [label.number for label in labels] == list(range(1, len(labels) + 1))
    assert 1 < len(labels) < 20
    assert not place_labels(boxes, dict.fromkeys(boxes, (24, 14)), np.ones((200, 300), bool))


def test_many_lesions_have_outlines_in_common(monkeypatch):
    """Of three lesions, one has its own outline and number: the others are outlined, too."""
    scan = scan_with_balls((45, 20, 12, 4), (30, 20, 25, 3), (15, 20, 38, 2))
    display, every = drawn(*scan)
    monkeypatch.setattr(picture_module, "MAX_OUTLINES", 1)
    _, one = drawn(*scan)
    front, side, _ = panels(display, one)
    assert [panel.shape for panel in panels(display, every)[:2]] == [front.shape, side.shape]
    third = front.shape[0] // 3
    assert all(red(front[start : start + third]).any() for start in (0, third, 2 * third))
    assert red(one).sum() < red(every).sum()


def test_numbers_cover_neither_lesions_nor_each_other():
    generator = np.random.default_rng(4)
    occupied = np.zeros((400, 300), bool)
    boxes = {}
    for number in range(1, 60):
        x, y = generator.integers(10, 280), generator.integers(10, 380)
        boxes[number] = (float(x), float(y), float(x + 8), float(y + 8))
        occupied[y : y + 8, x : x + 8] = True
    labels = place_labels(boxes, dict.fromkeys(boxes, (20, 12)), occupied)
    assert len(labels) > 40
    texts = np.zeros(occupied.shape, int)
    for label in labels:
        left, top, right, bottom = label.box
        assert (right - left, bottom - top) == (20, 12)
        texts[top:bottom, left:right] += 1
        assert min(left, top) >= 0
        assert right <= 300
        assert bottom <= 400
        x0, y0, x1, y1 = boxes[label.number]
        assert x0 <= label.start[0] <= x1
        assert y0 <= label.start[1] <= y1
    assert texts.max() == 1
    assert not (occupied & (texts > 0)).any()


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 10.0), (10.0, 10.0, 1.0)])
def test_flat_and_long_scans_keep_a_picture_of_moderate_size(spacing_mm):
    pet, numbers = scan_with_balls((30, 20, 25, 3))
    display, picture = drawn(Volume(pet.array_zyx, Geometry(pet.geometry.size_xyz, spacing_mm)), numbers)
    front, _, _ = panels(display, picture)
    assert picture.shape[0] <= 1000 + 200
    assert picture.shape[1] <= 1300 + 300
    assert front.shape[1] / front.shape[0] == pytest.approx(
        display.grey.shape[2] * spacing_mm[0] / (display.grey.shape[0] * spacing_mm[2]), rel=0.02
    )


def test_scale_of_suv_of_one_slice_has_room():
    """The numbers at its ends are not one upon another."""
    pet, numbers = scan_with_balls(shape_zyx=(1, 40, 50))
    display, picture = drawn(pet, numbers)
    _, side, _ = panels(display, picture)
    bar = picture[HEAD:, -MARGIN - 104 :]
    frame = np.abs(bar - (85, 97, 109)).max(axis=2) < 20
    assert side.shape[0] < 30
    assert np.ptp(np.nonzero(frame.any(axis=1))[0]) >= 80


def test_scan_without_lesions_has_no_outline_and_file_is_a_png(tmp_path):
    pet, numbers = scan_with_balls()
    save_mip(draw_mip(example_report(pet, numbers), display_of(pet, numbers)), tmp_path / "new" / "mip.png")
    with Image.open(tmp_path / "new" / "mip.png") as picture:
        assert picture.format == "PNG"
        assert not red(np.asarray(picture).astype(int)).any()


def test_unwritable_picture_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"mip\.png: the picture cannot be written"):
        save_mip(Image.new("RGB", (2, 2)), tmp_path / "file" / "mip.png")
