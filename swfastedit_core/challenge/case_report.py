"""The report of a case that was segmented here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from swfastedit_core.errors import DataWarning, UserError, is_out_of_memory
from swfastedit_core.report.record import WeightsTerms

if TYPE_CHECKING:
    from swfastedit_core.challenge.case import CaseOptions
    from swfastedit_core.challenge.case_record import CaseRecord
    from swfastedit_core.engine.ensemble import Ensemble
    from swfastedit_core.volume import Volume


def write_case_report(folder: Path, record: CaseRecord, mask: Volume, networks: Ensemble, options: CaseOptions) -> None:
    """Write the report of a case. The PET is read again: its voxels were released before the networks ran.

    Parameters
    ----------
    folder
        Of the report.
    record
        Of the case, whose mask is written.
    mask
        The mask.
    networks, options
        What made it.

    Raises
    ------
    UserError
        If the report cannot be written.
    """
    from swfastedit_core.files.read import read_volume
    from swfastedit_core.report.compose import Origin, make_report
    from swfastedit_core.report.write import write_report

    origin = Origin(
        pet=record.pet,
        mask=record.output,
        method=_method(networks, options),
        weights=tuple(_terms(networks)),
        processing=_processing(record),
        warnings=record.warnings,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the record has them
            pet = read_volume(record.pet, form=options.geometry)
        report, numbers_zyx = make_report(pet, mask.array_zyx, origin)
        write_report(report, pet, numbers_zyx, folder)
    except Exception as error:
        if not isinstance(error, UserError) and not is_out_of_memory(error):
            raise
        reason = error if isinstance(error, UserError) else "out of memory"
        raise UserError(f"{reason}; the mask {record.output} is written, the report is not complete") from error


def _terms(networks: Ensemble) -> list[WeightsTerms]:
    return [
        WeightsTerms(
            source=network.source,
            licence=network.config.licence,
            attribution=network.config.attribution,
            demonstration=network.config.demonstration,
        )
        for network in networks
    ]


def _method(networks: Ensemble, options: CaseOptions) -> str:
    """Say how the mask was made, by the names of the weights and the options that change it."""
    names = ", ".join(Path(network.source).name for network in networks)
    if len(networks) == 1:
        method = f"swfastedit, network {names}"
    else:
        combined = "majority vote" if options.majority else "mean of the probabilities"
        method = f"swfastedit, {combined} of {len(networks)} networks ({names})"
    method += f", {'the whole volume' if options.full_grid else 'the body'}, overlap {options.overlap:g}"
    if options.min_lesion_ml > 0:
        method += f"; components smaller than {options.min_lesion_ml:g} ml cleared"
    return method


def _processing(record: CaseRecord) -> dict[str, str]:
    """Return what was done, for people."""
    done = {
        "engine": record.engine,
        "device": record.device,
        "precision": record.precision,
        "windows": f"{record.windows} of {record.windows_full_grid} in the whole volume",
        "seconds": f"{record.seconds['total']:.1f}",
    }
    if record.ct is not None:
        done["CT"] = record.ct.name
    if record.clicks is not None:
        done["clicks"] = ", ".join(f"{number} {kind}" for kind, number in record.clicks.items())
    return done
