"""The checks of cases before the work: scan, CT, the file for the mask, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from swfastedit_core.challenge.case import Case
from swfastedit_core.challenge.interface import TASKS, find_cts, find_pets
from swfastedit_core.challenge.options import Options
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import require_writable, say

if TYPE_CHECKING:
    from swfastedit_core.engine.ensemble import Ensemble
    from swfastedit_core.volume import Geometry

FileId = tuple[int, int]


def find_cases(options: Options) -> list[Case]:
    """List the scans in the platform's folder and the files for their masks.

    Raises
    ------
    UserError
        If there is no scan, a header cannot be used, or a mask could not be written or would replace its scan.
    """
    masks = options.output / TASKS[options.task].mask
    cases = add_reports([Case(pet=pet, mask=masks / pet.name) for pet in find_pets(options.input)], masks, options)
    if options.api_method == "invoke" and len(cases) > 1:
        names = ", ".join(case.pet.name for case in cases[:5])
        raise UserError(f"{options.input}: {len(cases)} scans ({names}), expected one scan a call")
    for case in cases:
        check_case(case, options)
    return cases


def check_case(case: Case, options: Options, *, others: Collection[FileId] = ()) -> None:
    """Check the headers of the scans, that the clicks lie inside, and that the mask can be written.

    Parameters
    ----------
    case, options
        What will be done.
    others
        More files that the mask must not replace.

    Raises
    ------
    UserError
        If a header or a click file cannot be used, or the mask could not be written or would replace a file that is
        not such a mask.
    """
    from swfastedit_core.click_files import read_clicks_inside
    from swfastedit_core.files.geometry import read_geometry
    from swfastedit_core.report.files import require_free

    require_writable(case.mask)
    if case.report is not None:
        require_free(case.report, overwrite=options.overwrite)
    own = [case.pet, *([case.ct] if case.ct else [])]
    grid, *_ = [read_geometry(scan, form=options.case.geometry) for scan in own]
    read_clicks_inside(case.clicks, grid)
    require_replaceable(case.mask, scans={*others, *map(file_id, own)}, overwrite=options.overwrite)


def require_replaceable(mask: Path, *, scans: Collection[FileId | None], overwrite: bool) -> None:
    """Refuse to replace a file that is not a mask of this program.

    Parameters
    ----------
    mask
        The file to write; it may be missing.
    scans
        Files that are never replaced.
    overwrite
        Whether any other file may be replaced.

    Raises
    ------
    UserError
        If the file is a scan, or neither a mask of this program nor may be replaced.
    """
    from swfastedit_core.files.write import is_own_mask

    present = file_id(mask)
    if present is None:
        return
    if present in scans:
        raise UserError(f"{mask}: the mask would replace the scan; choose another --output")
    if not overwrite and not is_own_mask(mask):
        raise UserError(
            f"{mask}: the file exists and is no unchanged mask of this program; choose another --output, or "
            "replace it with --overwrite"
        )


def add_reports(cases: list[Case], masks: Path, options: Options) -> list[Case]:
    """Add the folder of the report of each scan, if reports are wanted: named as the mask, without its ending.

    Names that differ only in the ending, or in case, keep the ending; so does one that without it is another's name.

    Parameters
    ----------
    cases
        Scans and masks.
    masks
        Folder of the masks; the path of a mask below it is that of its report.
    options
        With the folder for all reports.
    """
    if options.report is None:
        return cases
    names = [case.mask.relative_to(masks) for case in cases]
    short = [name.with_name(_without_ending(name)) for name in names]
    used = Counter(str(stem).casefold() for stem in short)
    used.update(str(name).casefold() for name, stem in zip(names, short, strict=True) if name != stem)
    return [
        replace(case, report=options.report / (name if used[str(stem).casefold()] > 1 else stem))
        for case, name, stem in zip(cases, names, short, strict=True)
    ]


def _without_ending(path: Path) -> str:
    from swfastedit_core.files.formats import SUFFIXES

    lower = path.name.lower()
    return next((path.name[: -len(suffix)] for suffix in SUFFIXES if lower.endswith(suffix)), "") or path.name


def file_id(path: Path) -> FileId | None:
    """Return what is the same for all names of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def add_cts(cases: list[Case], networks: Ensemble, options: Options) -> list[Case]:
    """Add the CT of each scan if a network takes one.

    Raises
    ------
    UserError
        If a CT is missing, its header cannot be used, or it does not overlap the PET.
    """
    from swfastedit_core.files.geometry import read_geometry
    from swfastedit_core.resample import require_overlap

    network = networks.ct_network
    if network is None:
        if options.ct is not None and not options.quiet:
            say(f"notice: {options.ct}: not used, the networks take PET only")
        return [replace(case, ct=None) for case in cases]
    if not options.pets:
        cts = find_cts(options.input, [case.pet for case in cases])
        cases = [replace(case, ct=ct) for case, ct in zip(cases, cts, strict=True)]
    for case in cases:
        if case.ct is None:
            raise UserError(f"{case.pet}: {network.source} takes PET and CT; name the CT with --ct FILE")
        ct, pet = (read_geometry(path, form=options.case.geometry) for path in (case.ct, case.pet))
        require_overlap(ct, pet, source=str(case.ct))
    return cases


def require_memory(
    cases: list[Case], networks: Ensemble, options: Options, *, release: Callable[[], None] | None = None
) -> None:
    """Refuse a scan that cannot fit into memory at a network's spacing, before its voxels are read.

    Parameters
    ----------
    cases, networks, options
        What will be done.
    release
        Called where memory is too small, to release what is kept of earlier scans; then it is measured again.

    Raises
    ------
    UserError
        If memory is too small for a scan, or a scan is too large for any machine.
    """
    from swfastedit_core.files.geometry import read_geometry

    for case in cases:
        grid = read_geometry(case.pet, form=options.case.geometry)
        require_memory_for(grid, networks, source=str(case.pet), release=release)


def require_memory_for(
    grid: Geometry, networks: Ensemble, *, source: str, release: Callable[[], None] | None = None
) -> None:
    """Refuse a scan on this grid if it cannot fit into memory at a network's spacing.

    Raises
    ------
    UserError
        As `require_memory`; begins with `source`.
    """
    from swfastedit_core.preprocess import least_memory_bytes, place
    from swfastedit_core.system.memory import usable_memory_bytes

    usable = usable_memory_bytes()
    for network in networks:
        try:
            placement = place(grid, network.config.preprocessing.spacing_mm)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
        needed = least_memory_bytes(placement)
        if release is not None and usable is not None and needed > usable:
            release()
            usable = usable_memory_bytes()
        if usable is not None and needed > usable:
            shape = "×".join(map(str, placement.network_shape))
            raise UserError(
                f"{source}: out of memory: {shape} voxels at the network's spacing need more than "
                f"{needed / 1e9:.2f} GB, and {usable / 1e9:.2f} GB of memory are free; free some memory, or cut "
                "the scan"
            )
