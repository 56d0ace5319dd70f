"""mip.png: projections from the front and from the left, with the lesions outlined and numbered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from swfastedit_core.errors import UserError
from swfastedit_core.report.pictures.display import Display
from swfastedit_core.report.pictures.number_labels import place_labels, reach_lesion
from swfastedit_core.report.record import Report
from swfastedit_core.system.atomic import replacing

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

HEIGHT, WIDTH, PIXELS_PER_MM = 1000, 1300, 4.0  # of both projections together, at most
LEAST_HEIGHT = 80  # of the part with the projections: that of the scale of SUV
MARGIN, HEAD, BAR = 24, 70, 104
FOOT, LINE = 48, 24  # the foot without its lines, and the height of a line
OUTLINE, TEXT, QUIET, BACKGROUND = "#c2002f", "#111820", "#55616d", "#ffffff"
MAX_OUTLINES = 500  # lesions with an outline and number of their own; smaller ones have their outlines in common
SCALE_BARS_MM = (200, 100, 50, 20, 10, 5)
OUTLINE_FINER = 2  # outlines are drawn at this multiple of the picture's resolution, then reduced


def save_mip(picture: Image.Image, path: Path) -> None:
    """Write the projections of a report as PNG; the file is complete or unchanged.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG", compress_level=4)
    except OSError as error:
        raise UserError(f"{path}: the picture cannot be written ({error})") from error


def draw_mip(report: Report, display: Display) -> Image.Image:
    """Return the projections from the front and from the left, side by side, with marks, as an RGB image.

    Parameters
    ----------
    report
        The figures; its lesions are the numbers in the display.
    display
        The scan.
    """
    height_mm, depth_mm, width_mm = (n * mm for n, mm in zip(display.grey.shape, display.voxel_mm, strict=True))
    scale = min(HEIGHT / height_mm, WIDTH / (width_mm + depth_mm), PIXELS_PER_MM)
    panels, numbered = [], set()
    for axis, across_mm in ((1, width_mm), (2, depth_mm)):
        size = max(1, round(across_mm * scale)), max(1, round(height_mm * scale))
        # The feet are row 0 of the projection and the lowest row of the picture.
        panel, shown = _panel(display.grey.max(axis=axis)[::-1], display.numbers.max(axis=axis)[::-1], size)
        panels.append(panel)
        numbered |= shown
    front, side = panels
    inner = front.width + side.width + 2 * MARGIN
    height = max(front.height, LEAST_HEIGHT)
    lines = _foot_lines(report, display, numbered=len(numbered))
    size = max(inner + BAR, 560) + 2 * MARGIN, HEAD + height + FOOT + LINE * len(lines)
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    x = MARGIN
    for panel, title, sides in ((front, "Anterior view", "RL"), (side, "Left lateral view", "AP")):
        picture.paste(panel, (x, HEAD))
        draw.text((x, 10), title, font=_font(21), fill=TEXT)
        draw.text((x, HEAD - 6), sides[0], font=_font(22), fill=TEXT, anchor="ls")
        draw.text((x + panel.width, HEAD - 6), sides[1], font=_font(22), fill=TEXT, anchor="rs")
        x += panel.width + 2 * MARGIN
    _suv_bar(draw, (x, HEAD), min(height, 260), display.suv_window)
    _foot(draw, picture, lines, scale=scale, scale_bar_at=(MARGIN, HEAD + height + 16))
    return picture


def _panel(grey: np.ndarray, numbers: np.ndarray, size: tuple[int, int]) -> tuple[Image.Image, set[int]]:
    """Return a projection of inverted grey with outlines and numbers, and which numbers are shown."""
    panel = Image.fromarray(255 - grey).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    numbers = np.minimum(numbers, MAX_OUTLINES + 1)
    found = enumerate(ndimage.find_objects(numbers), 1)
    lesions = {n: (where[0], where[1]) for n, where in found if where is not None}
    outlines = _outlines(numbers, lesions, size)
    panel.paste(OUTLINE, mask=outlines)
    columns, rows = size[0] / numbers.shape[1], size[1] / numbers.shape[0]
    boxes = {
        n: (across.start * columns, down.start * rows, across.stop * columns, down.stop * rows)
        for n, (down, across) in lesions.items()
        if n <= MAX_OUTLINES
    }
    font, draw = _font(18), ImageDraw.Draw(panel)
    sizes = {n: (int(draw.textlength(str(n), font)) + 6, 18) for n in lesions}
    inside = Image.fromarray(np.where(numbers, 255, 0).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    occupied = np.asarray(ImageChops.lighter(inside, outlines)) > 0
    labels = [reach_lesion(label, numbers, (columns, rows)) for label in place_labels(boxes, sizes, occupied)]
    for label in labels:
        draw.line([label.start, label.end], fill=OUTLINE, width=1)
    for label in labels:
        left, top, right, bottom = label.box
        draw.rounded_rectangle((left, top, right - 1, bottom - 1), 3, fill=BACKGROUND)
        draw.text(((left + right) / 2, (top + bottom) / 2), str(label.number), font=font, fill=OUTLINE, anchor="mm")
    return panel, {label.number for label in labels}


def _outlines(numbers: np.ndarray, lesions: dict[int, tuple[slice, slice]], size: tuple[int, int]) -> Image.Image:
    """Return the outlines of the lesions, white on black, smoothed within a pixel of the projection."""
    fine = Image.new("L", (size[0] * OUTLINE_FINER, size[1] * OUTLINE_FINER))
    across, down = fine.width / numbers.shape[1], fine.height / numbers.shape[0]
    for number, (rows, columns) in lesions.items():
        mask = Image.fromarray(np.pad(numbers[rows, columns] == number, 2).astype(np.uint8) * 255)
        left, top = int((columns.start - 1) * across), int((rows.start - 1) * down)
        right, bottom = int((columns.stop + 1) * across) + 1, int((rows.stop + 1) * down) + 1
        part = (
            max(0.0, left / across - columns.start + 2),
            max(0.0, top / down - rows.start + 2),
            min(float(mask.width), right / across - columns.start + 2),
            min(float(mask.height), bottom / down - rows.start + 2),
        )
        inside = mask.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=part)
        inside = inside.convert("1", dither=Image.Dither.NONE).convert("L")  # from 128 on
        ring = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(5)), inside)
        fine.paste(255, (left, top), ring)
    return fine.reduce(OUTLINE_FINER)


def _suv_bar(draw: ImageDraw.ImageDraw, corner: tuple[int, int], height: int, suv_window: tuple[float, float]) -> None:
    """Draw the scale of grey values with its SUV."""
    x, y = corner
    low, high = suv_window
    for row in range(height):
        grey = round(255 * row / max(height - 1, 1))
        draw.line([(x, y + row), (x + 17, y + row)], fill=(grey, grey, grey))
    draw.rectangle((x, y, x + 18, y + height), outline=QUIET)
    steps = 5 if height > 120 else 1
    for step in range(steps + 1):
        value = high - (high - low) * step / steps
        text = f"{value:.4g}"
        at = y + height * step / steps
        draw.line([(x + 18, at), (x + 23, at)], fill=QUIET)
        draw.text((x + 27, at), text, font=_font(17), fill=TEXT, anchor="lm")
    draw.text((x, y - 12), "SUV", font=_font(17), fill=TEXT, anchor="ls")


def _foot(
    draw: ImageDraw.ImageDraw,
    picture: Image.Image,
    lines: list[str],
    *,
    scale: float,
    scale_bar_at: tuple[int, int],
) -> None:
    """Draw the scale bar and the lines below the projections."""
    x, y = scale_bar_at
    length_mm = next((mm for mm in SCALE_BARS_MM if mm * scale <= 200), SCALE_BARS_MM[-1])
    end = x + round(length_mm * scale)
    draw.line([(x, y), (end, y)], fill=TEXT, width=2)
    for tick in (x, end):
        draw.line([(tick, y - 4), (tick, y + 5)], fill=TEXT, width=2)
    draw.text((end + 10, y), f"{length_mm} mm", font=_font(17), fill=TEXT, anchor="lm")
    for row, line in enumerate(lines):
        font, width = _font(17), picture.width - 2 * MARGIN
        while draw.textlength(line, font) > width and len(line) > 8:
            line = f"{line[: len(line) // 2 - 2]}…{line[len(line) // 2 + 1 :]}"
        draw.text((x, y + 18 + LINE * row), line, font=font, fill=QUIET)


def _foot_lines(report: Report, display: Display, *, numbered: int) -> list[str]:
    name = " ".join(report.pet.name.split())  # in one line
    name = name.encode("latin-1", "replace").decode("latin-1")  # the font has no other letters
    first = f"{name} · {_lesions_text(len(report.lesions), numbered)}"
    return [first, *filter(None, [display.tilt_text()]), "Research use only. Not a medical device."]


def _lesions_text(count: int, numbered: int) -> str:
    if not count:
        return "no lesions"
    if numbered < count:
        return f"{count} lesions, {numbered} of them with room for their number; the table lists all"
    return "1 lesion" if count == 1 else f"{count} lesions, numbered by volume"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
