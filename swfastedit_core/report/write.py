"""Write the files of a report into a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swfastedit_core.report.files import FIGURES, LESIONS, MIP, PAGE
from swfastedit_core.report.page.report_page import write_page
from swfastedit_core.report.page.viewer import viewer_section
from swfastedit_core.report.pictures.display import make_display
from swfastedit_core.report.pictures.mip_picture import draw_mip, save_mip
from swfastedit_core.report.record import Report
from swfastedit_core.report.table import write_json, write_lesions_csv
from swfastedit_core.volume import Volume


def write_report(
    report: Report,
    pet: Volume,
    numbers_zyx: np.ndarray,
    folder: Path,
    *,
    suv_window: tuple[float, float] = (0.0, 10.0),
    viewer: bool = False,
) -> None:
    """Write lesions.csv, report.json, mip.png and report.html; each file is complete or unchanged.

    Parameters
    ----------
    report, numbers_zyx
        From `make_report`.
    pet
        SUV [Z, Y, X].
    folder
        It is made if it does not exist.
    suv_window
        The SUV shown white and black.
    viewer
        Add a viewer in three dimensions to the page, which makes it several MB larger.

    Raises
    ------
    UserError
        If a file cannot be written, or NiiVue is not there.
    """
    write_json(report, folder / FIGURES)  # first: it marks the folder as one of this program
    write_lesions_csv(report, folder / LESIONS)
    display = make_display(pet, numbers_zyx, [lesion.box for lesion in report.lesions], suv_window=suv_window)
    picture = draw_mip(report, display)
    save_mip(picture, folder / MIP)
    section = viewer_section(pet, numbers_zyx, suv_window=suv_window) if viewer else None
    write_page(report, display, picture, folder / PAGE, viewer=section)
