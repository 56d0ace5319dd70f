"""Pairs of a label and a prediction, by the names of their files.

Only folders are read. The case of a file is its path below the folder without the ending. Label and prediction of a
case may have different formats.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import SUFFIXES, suffix_of
from swfastedit_core.files.signature import holds_dicom

LABEL_OF_STUDY, SCAN_OF_STUDY = "SEG", "SUV"  # of FDG-PET-CT-Lesions: patient/study/SEG.nii.gz, beside the images
IMAGES_OF_STUDY = {SCAN_OF_STUDY, "PET", "CT", "CTres"}
OF_SCAN = re.compile(r"(_\d{4}|__PT)$")  # a mask is named as its scan: nnU-Net's channel, HECKTOR's modality
NAMES_IN_MESSAGE = 5


@dataclass(frozen=True)
class Pair:
    """The files of one case.

    Attributes
    ----------
    case
        Name of the case, unique.
    label, prediction
        The files.
    """

    case: str
    label: Path
    prediction: Path


@dataclass(frozen=True)
class Pairing:
    """The pairs of two folders, by name, and the cases that only one of them has."""

    pairs: tuple[Pair, ...]
    labels_alone: tuple[str, ...]
    predictions_alone: tuple[str, ...]


def find_pairs(labels: Path, predictions: Path, *, skip_unpaired: bool = False, output: Path | None = None) -> Pairing:
    """Pair the files of two folders, or two files.

    Two files are one pair, whatever their names are. In folders, all image files count, also those in folders below,
    except hidden ones. The same path, without the ending, is the same case. A file without a partner is also looked for
    without its ``_0000`` (nnU-Net) or ``__PT`` (HECKTOR). In the layout of FDG-PET-CT-Lesions the folder is the case:
    ``patient/study/SEG.nii.gz`` as a label, ``patient/study/SUV.nii.gz`` or ``patient/study.nii.gz`` as a prediction.

    Parameters
    ----------
    labels, predictions
        Two folders or two files.
    skip_unpaired
        Leave out the cases that only one folder has.
    output
        A folder that is not searched.

    Returns
    -------
    Pairing
        Its pairs are not empty.

    Raises
    ------
    UserError
        If a folder is missing, cannot be read or has no image; if two files could be the same case; if a case has no
        partner and `skip_unpaired` is not set, or none has.
    """
    for option, path in (("--labels", labels), ("--predictions", predictions)):
        try:
            path.stat()
        except OSError as error:
            raise UserError(f"{option} {path}: cannot be read ({error.strerror})") from error
    if labels.samefile(predictions):
        raise UserError(f"{labels}: is both --labels and --predictions, expected two different ones")
    if labels.is_dir() != predictions.is_dir():
        folder, file = (labels, predictions) if labels.is_dir() else (predictions, labels)
        raise UserError(f"{folder} is a folder and {file} is a file, expected two folders or two files")
    if not labels.is_dir():
        return Pairing((Pair(_without_ending(labels.name), labels, predictions),), (), ())
    others = [path for path in (labels, predictions, output) if path is not None and path.is_dir()]
    pairing = _pair(list_cases(labels, left_out=others), list_cases(predictions, left_out=others))
    _require_partners(pairing, skip_unpaired=skip_unpaired)
    return pairing


def list_cases(folder: Path, *, left_out: Iterable[Path] = ()) -> dict[str, Path]:
    """List the image files of a folder and of the folders below it, by case, sorted.

    Parameters
    ----------
    folder
        An existing folder. Links to folders are followed, each folder once.
    left_out
        Folders below it that are not searched.

    Raises
    ------
    UserError
        If there is no image or a folder cannot be read; if an ending is in upper case; if two files could be the same
        case.
    """
    cases: dict[str, Path] = {}
    for path in sorted(_images_below(folder, left_out)):
        case = _case_of(path.relative_to(folder))
        other = cases.setdefault(case, path)
        if other != path:
            raise UserError(f"{path} and {other} could be the same case; remove one")
    if not cases:
        found = "holds DICOM files; convert them first" if holds_dicom(folder) else "has no image"
        raise UserError(f"{folder}: {found}, expected masks ({' '.join(SUFFIXES)})")
    return dict(sorted(cases.items()))


def _images_below(folder: Path, left_out: Iterable[Path]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error

    visited = {_identity(path) for path in (folder, *left_out)}
    for top, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        below = {name: _identity(Path(top, name)) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, identity in below.items() if identity not in visited]
        visited |= set(below.values())
        paths = [Path(top, name) for name in sorted(files) if not name.startswith(".")]
        for path in paths:
            if suffix_of(path) is None and path.name.lower().endswith(SUFFIXES):
                raise UserError(f"{path}: the ending of an image must be in lower case; rename the file")
        images = [path for path in paths if suffix_of(path) is not None]
        labelled = Path(top) != folder and any(_without_ending(path.name) == LABEL_OF_STUDY for path in images)
        yield from (p for p in images if not (labelled and _without_ending(p.name) in IMAGES_OF_STUDY))


def _identity(path: Path) -> tuple[int, int] | Path:
    try:
        state = path.stat()
    except OSError:  # a link to nothing
        return path
    return state.st_dev, state.st_ino


def _case_of(path: Path) -> str:
    """Return the case of a file, given its path below the folder; accents as one character, as macOS does not."""
    name = _without_ending(path.name)
    is_study = path.parent != Path() and name in (LABEL_OF_STUDY, SCAN_OF_STUDY)
    return unicodedata.normalize("NFC", (path.parent if is_study else path.parent / name).as_posix())


def _without_ending(name: str) -> str:
    return name.removesuffix(suffix_of(Path(name)) or "")


def _pair(labels: Mapping[str, Path], predictions: Mapping[str, Path]) -> Pairing:
    """Pair cases by name; if no name is in both folders, without the folders that all files of one side share."""
    pairing = _pair_names(labels, predictions)
    return pairing if pairing.pairs else _pair_names(_without_common(labels), _without_common(predictions))


def _pair_names(labels: Mapping[str, Path], predictions: Mapping[str, Path]) -> Pairing:
    partners = {case: case for case in labels if case in predictions}  # label's name: prediction's name
    labels_alone = [case for case in labels if case not in predictions]
    predictions_alone = [case for case in predictions if case not in labels]
    for one, other in _by_scan(labels_alone, predictions_alone):
        partners[one] = other
    for other, one in _by_scan(predictions_alone, labels_alone):
        partners.setdefault(one, other)
    used = set(partners.values())
    pairs = [Pair(min(names, key=len), labels[names[0]], predictions[names[1]]) for names in partners.items()]
    return Pairing(
        tuple(sorted(pairs, key=lambda pair: pair.case)),
        tuple(case for case in labels if case not in partners),
        tuple(case for case in predictions if case not in used),
    )


def _by_scan(plain: Iterable[str], named_as_scan: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the names that are equal without nnU-Net's channel or HECKTOR's modality on one side."""
    known, found = set(plain), dict[str, str]()
    for name in named_as_scan:
        stripped = OF_SCAN.sub("", name)
        if stripped != name and stripped in known:
            if stripped in found:
                raise UserError(f"{found[stripped]} and {name} could both be the case {stripped}; remove one")
            found[stripped] = name
    yield from found.items()


def _without_common(cases: Mapping[str, Path]) -> dict[str, Path]:
    """Remove the folders that all names have in common."""
    parents = [PurePosixPath(case).parent.as_posix() for case in cases]
    common = os.path.commonpath(parents)
    return {PurePosixPath(case).relative_to(common).as_posix(): path for case, path in cases.items()}


def _require_partners(pairing: Pairing, *, skip_unpaired: bool) -> None:
    alone = {"labels have no prediction": pairing.labels_alone, "predictions have no label": pairing.predictions_alone}
    parts = [
        f"{len(names)} of {len(names) + len(pairing.pairs)} {what}: {name_some(names)}"
        for what, names in alone.items()
        if names
    ]
    if not parts or (skip_unpaired and pairing.pairs):
        return
    advice = f"; --skip-unpaired scores the other {len(pairing.pairs)}" if pairing.pairs else ""
    raise UserError(f"{'; '.join(parts)}; expected the same names on both sides{_differ_in_case(pairing)}{advice}")


def name_some(names: Iterable[str]) -> str:
    """Return the first names, and how many there are more."""
    listed = list(names)
    more = len(listed) - NAMES_IN_MESSAGE
    return ", ".join(listed[:NAMES_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


def _differ_in_case(pairing: Pairing) -> str:
    predictions = {name.casefold(): name for name in pairing.predictions_alone}
    for label in pairing.labels_alone:
        if prediction := predictions.get(label.casefold()):
            return f" ({label} and {prediction} differ in upper and lower case)"
    return ""
