"""The scans that a command line names, single files and folders, and a name for the mask of each."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.challenge.case import Case
from swfastedit_core.challenge.cases import file_id
from swfastedit_core.errors import UserError

AUTOPET_PET = "SUV.nii.gz"  # of FDG-PET-CT-Lesions, beside CT.nii.gz, CTres.nii.gz, PET.nii.gz and SEG.nii.gz


@dataclass(frozen=True)
class BadScan:
    """A scan, or a folder of scans, that has no mask, and the reason in one line."""

    pet: Path
    reason: str

    def __post_init__(self) -> None:
        """Let the reason begin with the scan."""
        if not self.reason.startswith((f"{self.pet}: ", f"{self.pet} ")):
            object.__setattr__(self, "reason", f"{self.pet}: {self.reason}")


def find_scans(
    named: Sequence[Path], output: Path, *, notice: Callable[[str], object] = lambda _: None
) -> tuple[list[Case], list[BadScan]]:
    """List the scans and the files for their masks, in the order of the command line.

    A file that is named twice counts once. The mask of a named file has the name of the scan; below a named folder it
    also has the path below this folder. If two masks would get the same name, all have the path below the common
    parent of what is named.

    Parameters
    ----------
    named
        Files, and folders in which all scans count; see `_scans_below`.
    output
        Folder for the masks.
    notice
        Takes a line for each named folder in which DICOM files are left out.

    Returns
    -------
    list of Case, list of BadScan
        The scans; the folders without a scan, or that cannot be read.

    Raises
    ------
    UserError
        If two scans would have the same mask, because folders below `output` are links.
    """
    scans: dict[Path, tuple[Path, Path]] = {}  # the scan, and the folder below which its path is kept
    bad: list[BadScan] = []
    for path in named:
        if _is(path, stat.S_ISDIR):
            found, top = _scans_below(path, output, bad, notice), path
        else:
            found, top = [path], path.parent
        for scan in found:
            scans.setdefault(_place(scan), (scan, top))
    masks = _masks(list(scans.values()), output)
    places = [_place(mask) for mask in masks]
    cases = [Case(pet=scan, mask=mask) for (scan, _), mask in zip(scans.values(), masks, strict=True)]
    for place, number in Counter(places).items():
        if number > 1:
            same = [str(case.pet) for case, other in zip(cases, places, strict=True) if other == place]
            raise UserError(f"{', '.join(same)}: would have the same mask, {place}; choose another --output")
    return cases, bad


def _masks(scans: list[tuple[Path, Path]], output: Path) -> list[Path]:
    """Return the file for the mask of each scan; names that differ only in case are the same on some file systems."""
    names = [scan.relative_to(top) for scan, top in scans]
    if len({unicodedata.normalize("NFC", str(name)).casefold() for name in names}) < len(names):
        common = os.path.commonpath([_normal(top) for _, top in scans])
        names = [_normal(scan).relative_to(common) for scan, _ in scans]
    return [output / name for name in names]


def _scans_below(folder: Path, output: Path, bad: list[BadScan], notice: Callable[[str], object]) -> list[Path]:
    """List the scans in a folder and the folders below it, sorted.

    Left out are hidden files and folders, masks of this program, the folder `output`, files of another kind, and in the
    layout of FDG-PET-CT-Lesions what lies beside ``SUV.nii.gz``. Links to folders are followed, each folder once.
    Append to `bad` what cannot be read, and the folder if it has no scan.
    """
    from swfastedit_core.files.signature import holds_dicom
    from swfastedit_core.files.write import is_own_mask

    problems: list[BadScan] = []

    def note(error: OSError) -> None:
        problems.append(BadScan(Path(error.filename), f"cannot be read ({error.strerror})"))

    files = list(_files_below(folder, output, note))
    candidates = [file for file in files if file.name.lower().endswith(_suffixes())]
    scans = sorted(file for file in candidates if not (_is(file, stat.S_ISREG) and is_own_mask(file)))
    pets = {scan.parent for scan in scans if scan.name == AUTOPET_PET}
    scans = [scan for scan in scans if scan.parent not in pets or scan.name == AUTOPET_PET]
    others = {file.parent for file in files} - {file.parent for file in candidates}
    dicom = sorted(other for other in others if holds_dicom(other))
    if scans and dicom:
        notice(f"{folder}: DICOM files are left out, in {len(dicom)} folder(s) such as {dicom[0]}")
    if not scans and not problems:
        problems.append(BadScan(folder, _nothing_found(files, masks=len(candidates))))
    bad += problems
    return scans


def _files_below(folder: Path, output: Path, note: Callable[[OSError], None]) -> Iterator[Path]:
    visited = {file_id(folder)}
    masks = file_id(output)
    for top, folders, names in os.walk(folder, onerror=note, followlinks=True):
        below = {name: file_id(Path(top, name)) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, found in below.items() if found not in visited and found != masks]
        visited |= set(below.values())
        yield from (Path(top, name) for name in names if not name.startswith("."))


def _nothing_found(files: list[Path], *, masks: int) -> str:
    from swfastedit_core.files.signature import holds_dicom

    expected = f"expected scans ({' '.join(_suffixes())})"
    if masks:
        return f"holds only masks of this program, {expected}"
    if files and holds_dicom(files[0].parent):
        return f"holds DICOM files, {expected}; convert each series to one volume in SUV first"
    names = ", ".join(sorted(file.name for file in files)[:5])
    return f"found {names or 'nothing'}, {expected}"


def _suffixes() -> tuple[str, ...]:
    from swfastedit_core.files.formats import SUFFIXES

    return SUFFIXES


def _place(file: Path) -> Path:
    """Return where the entry of a file lies, whatever links lead there."""
    return Path(os.path.realpath(file.parent), file.name)


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether a path is of a kind of `stat`; False if it cannot be reached, which is said when it is read."""
    try:
        return kind(path.stat().st_mode)
    except OSError:
        return False
