"""One case: read the scan, segment it, write the mask, report.

`process.py`, the invoke server and everything else that segments files call `segment_case`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swfastedit_core.challenge.case_record import CaseRecord
from swfastedit_core.errors import DataWarning

if TYPE_CHECKING:
    from swfastedit_core.challenge.case_sessions import CaseSessions
    from swfastedit_core.clicks import Click
    from swfastedit_core.engine.ensemble import Ensemble
    from swfastedit_core.files.nifti_forms import Form
    from swfastedit_core.pipeline import Segmentation
    from swfastedit_core.volume import Geometry, Volume

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scan and the file for its mask.

    Attributes
    ----------
    pet
        Scan in SUV.
    mask
        File to write. Its folder is made; an older file is replaced.
    ct
        CT in HU; None where no network takes one.
    clicks
        Click files; their clicks are taken together. Networks that take no clicks ignore them.
    report
        Folder for the report; None: no report.
    """

    pet: Path
    mask: Path
    ct: Path | None = None
    clicks: tuple[Path, ...] = ()
    report: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """How a case is read and segmented; see `read_volume` and `pipeline.segment`."""

    geometry: Form = "auto"
    full_grid: bool = False
    overlap: float = 0.75
    majority: bool = False
    min_lesion_ml: float = 0.0


def segment_case(
    case: Case,
    networks: Ensemble,
    options: CaseOptions,
    *,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    sessions: CaseSessions | None = None,
) -> CaseRecord:
    """Segment one scan, write its mask, and a report if the case has a folder for it.

    Parameters
    ----------
    case
        Files. A CT is needed where a network takes one.
    networks
        From `load_networks`.
    options
        How to segment.
    progress
        Called with the windows done and the windows planned.
    warn
        Called with each warning about the scans, as soon as they are read.
    sessions
        Of these networks and options; None: nothing is kept for further calls on the scan.

    Returns
    -------
    CaseRecord
        Files, settings, times, lesion volume and warnings.

    Raises
    ------
    UserError
        If a file cannot be read or written, a click lies outside the scan, or memory runs out. In this case no mask is
        written, unless the report is what failed.
    """
    from swfastedit_core.click_files import read_clicks_inside, warn_of_contradictions
    from swfastedit_core.files.write import write_mask
    from swfastedit_core.system.memory import peak_gpu_memory_mb, peak_memory_mb, reset_peak_memory
    from swfastedit_core.system.stopwatch import Stopwatch

    reset_peak_memory()
    stopwatch, begin = Stopwatch(networks.device), time.perf_counter()
    messages = list(networks.warnings)
    segment = sessions.segment if sessions is not None else _segmenter(networks, options)
    with _data_warnings(case, messages, warn):
        with stopwatch.stage("read"):
            scans = _read(case, options.geometry)
            grid = scans["pet"].geometry
            clicks = read_clicks_inside(case.clicks, grid) if networks.takes_clicks else ()
            warn_of_contradictions(clicks, grid)
        # The voxels are released before the networks run, if the caller keeps no reference.
        result = segment(scans.pop("pet"), ct=scans.pop("ct", None), clicks=clicks, progress=progress)
    with stopwatch.stage("write"):
        write_mask(result.mask, case.mask)
    read, write, total = stopwatch.seconds["read"], stopwatch.seconds["write"], time.perf_counter() - begin
    record = CaseRecord(
        pet=case.pet,
        output=case.mask,
        ct=case.ct,
        clicks=_count(clicks, grid) if networks.takes_clicks else None,
        report=case.report,
        engine=networks[0].name,
        device=str(networks.device),
        precision=networks[0].precision,
        weights=tuple(network.source for network in networks),
        demonstration=networks.demonstration,
        windows=result.windows,
        windows_full_grid=result.windows_full_grid,
        seconds={"read": read, **result.seconds, "write": write, "total": total},
        peak_memory_mb=round(peak_memory_mb()),
        peak_gpu_memory_mb=round(peak_gpu_memory_mb(networks.device)) if networks.device.type == "cuda" else None,
        lesion_voxels=result.lesion_voxels,
        lesion_volume_ml=round(result.lesion_ml, 3),
        warnings=tuple(messages),
    )
    if case.report is None:
        return record
    from swfastedit_core.challenge.case_report import write_case_report

    with stopwatch.stage("report"):
        write_case_report(case.report, record, result.mask, networks, options)
    before = {stage: seconds for stage, seconds in record.seconds.items() if stage != "total"}
    seconds = before | {"report": stopwatch.seconds["report"], "total": time.perf_counter() - begin}
    return replace(record, seconds=seconds, peak_memory_mb=round(peak_memory_mb()))


def _segmenter(networks: Ensemble, options: CaseOptions) -> Callable[..., Segmentation]:
    from swfastedit_core.pipeline import segment

    return partial(
        segment,
        networks=networks,
        full_grid=options.full_grid,
        overlap=options.overlap,
        majority=options.majority,
        min_lesion_ml=options.min_lesion_ml,
    )


def _read(case: Case, geometry: Form) -> dict[str, Volume]:
    """Read PET and CT; return them by name."""
    from swfastedit_core.files.read import read_ct, read_volume

    scans = {"pet": read_volume(case.pet, form=geometry)}
    if case.ct is not None:
        scans["ct"] = read_ct(case.ct, form=geometry)
    return scans


def _count(clicks: Sequence[Click], grid: Geometry) -> dict[str, int]:
    from swfastedit_core.clicks import file_voxels

    return {kind.value: len(voxels) for kind, voxels in file_voxels(clicks, grid).items()}


@contextmanager
def _data_warnings(case: Case, messages: list[str], warn: Callable[[str], None] | None) -> Iterator[None]:
    """Add the text of each warning about data to `messages`, with the scan's name, and call `warn` with it at once."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, DataWarning):
            show_others(message, category, *place, **more)
            return
        text = str(message) if str(message).startswith((str(case.pet), str(case.ct))) else f"{case.pet}: {message}"
        if text not in messages:  # several networks see the same scan
            messages.append(text)
            if warn is not None:
                warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show_others, warnings.showwarning = warnings.showwarning, show
        yield
