"""Write the files of a report into a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swfastedit_core.report.files import FIGURES, LESIONS, MIP, PAGE
from swfastedit_core.report.page.report_page import write_page
from swfastedit_core.report.pictures.mip_picture import write_mip
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
        If a file cannot be written.
    """
    write_json(report, folder / FIGURES)  # first: it marks the folder as one of this program
    write_lesions_csv(report, folder / LESIONS)
    write_mip(report, pet, numbers_zyx, folder / MIP, suv_window=suv_window)
    write_page(report, pet, numbers_zyx, folder / PAGE, suv_window=suv_window, viewer=viewer)
