"""Layouts of data sets: which files belong to a case.

Only folders are read, no images. Files may have any ending of ``formats.SUFFIXES``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.challenge.interface import CT, PET, TASKS
from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import suffix_of

MASKS = [task.mask for task in TASKS.values()]
CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's file names
AUTOPET = re.compile(r"(fdg|psma|PETCT)_([^_]+)_.+")
PET_WORDS, CT_WORDS = {"pet", "pt", "suv"}, {"ct"}


@dataclass(frozen=True)
class Files:
    """The files of one case.

    Attributes
    ----------
    case
        Name of the case, unique in the data set.
    patient
        Patient of the scan.
    pet
        The scan.
    label, ct
        None where the data set has none for the scan.
    """

    case: str
    patient: str
    pet: Path
    label: Path | None = None
    ct: Path | None = None


@dataclass(frozen=True)
class Layout:
    """The layout of a data set.

    Attributes
    ----------
    looks_like
        Description for the user, relative to the data set's folder.
    find
        Function that lists the cases of a folder.
    labels
        Glob patterns of all labels, with or without a scan.
    label_grid
        As `sources.Source.label_grid`.
    """

    looks_like: str
    find: Callable[[Path], Iterator[Files]]
    labels: tuple[str, ...]
    label_grid: str = "pet"


def patient_of(case: str) -> str:
    """Return the patient of a case by its file name: the whole name, unless it has autoPET's pattern.

    The FDG scans of autoPET have three names: ``PETCT_<patient>/<study>`` on TCIA, ``fdg_<patient>_<study>`` in
    autoPET III, and ``PETCT_<patient>_<study>`` by nnU-Net's conversion. All get TCIA's name of the patient, so that
    no patient is in the training set under one name and in the validation set under another.
    """
    match = AUTOPET.fullmatch(case)
    if match is None:
        return case
    prefix, patient = match.groups()
    return str(patient) if prefix == "psma" else f"PETCT_{patient}"


def _autopet2(folder: Path) -> Iterator[Files]:
    for patient in _folders(folder):
        for study in _folders(patient):
            files = _images(study)
            if "SUV" in files:
                case = f"{patient.name}/{study.name}"
                yield Files(case, patient.name, files["SUV"], files.get("SEG"), files.get("CTres"))


def _imagestr(folder: Path) -> Iterator[Files]:
    """Find scans by the label's name or by nnU-Net's names; a CT is a channel or lies in a folder of its own."""
    scans, labels = _images(folder / "imagesTr"), _images(folder / "labelsTr")
    pets, channel_cts = _by_channel(folder / "dataset.json", scans, labels)
    own_cts = _images(folder / "ct") or _images(folder / "ctTr")
    for case, pet in pets.items():
        ct = channel_cts.get(case) or own_cts.get(case) or own_cts.get(_stem(pet))
        yield Files(case, patient_of(case), pet, labels.get(case), ct)


def _hecktor(folder: Path) -> Iterator[Files]:
    scans, labels = _images(folder / "imagesTr"), _images(folder / "labelsTr")
    for name, path in scans.items():
        patient = name.removesuffix("__PT")
        if patient != name:
            yield Files(patient, patient, path, labels.get(patient), scans.get(f"{patient}__CT"))


def _challenge(folder: Path) -> Iterator[Files]:
    """Find the platform's folders: one set for all cases, or one folder per case.

    In a folder per case, file names may be random identifiers.
    """
    for place in [folder, *_folders(folder)]:
        pets, cts = _images(place / PET), _images(place / CT)
        labels = {name: path for mask in MASKS for name, path in _images(place / mask).items()}
        single = len(pets) == 1
        for name, pet in pets.items():
            owner = name if place == folder else place.name
            case = owner if place == folder or single else f"{owner}/{name}"
            label, ct = (_partner(files, name, single=single) for files in (labels, cts))
            yield Files(case, patient_of(owner), pet, label, ct)


LAYOUTS = {
    "autopet2": Layout(
        "<patient>/<study>/SUV.nii.gz with SEG.nii.gz and, where CT is wanted, CTres.nii.gz",
        _autopet2,
        ("*/*/SEG.*",),
    ),
    "images": Layout(
        "imagesTr/NAME.nii.gz or imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz and, where CT is wanted, "
        "ct/NAME.nii.gz or a second channel",
        _imagestr,
        ("labelsTr/*",),
    ),
    "hecktor": Layout(
        "imagesTr/<patient>__PT.nii.gz with labelsTr/<patient>.nii.gz and, where CT is wanted, "
        "imagesTr/<patient>__CT.nii.gz",
        _hecktor,
        ("labelsTr/*",),
        label_grid="any",  # the contours were made on the CT
    ),
    "challenge": Layout(
        f"{PET}/NAME.mha with {' or '.join(f'{mask}/NAME.mha' for mask in MASKS)} and, where CT is wanted, "
        f"{CT}/NAME.mha; or one folder for each case with these in it",
        _challenge,
        tuple(f"{start}{mask}/*" for start in ("", "*/") for mask in MASKS),
    ),
}


def find_files(layout: Layout, folder: Path) -> tuple[list[Files], list[Path]]:
    """List the cases of a data set.

    Returns
    -------
    cases : list of Files
        Sorted by name.
    unmatched : list of Path
        Labels without a scan.

    Raises
    ------
    UserError
        If the folder is missing or cannot be read, or two files could be the same scan.
    """
    try:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, expected in it: {layout.looks_like}")
        cases = sorted(layout.find(folder), key=lambda files: files.case)
        labels = [path for pattern in layout.labels for path in folder.glob(pattern) if _is_image(path)]
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    return cases, sorted(set(labels) - {files.label for files in cases if files.label})


def _by_channel(
    description: Path, scans: dict[str, Path], labels: dict[str, Path]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the files of PET and of CT by case.

    NAME_0000 is a channel of NAME if there are labels named NAME. Without such labels, NAME_0000 is the name of a case,
    for example ``phantom_0_0000``.
    """
    parts = {name: CHANNEL.fullmatch(name) for name in scans if name not in labels}
    if not any(part and part[1] in labels for part in parts.values()):
        return scans, {}
    channels: dict[int, dict[str, Path]] = {}
    for name, part in parts.items():
        if part:
            channels.setdefault(int(part[2]), {})[part[1]] = scans[name]
    pet, ct = (next(iter(channels)), None) if len(channels) == 1 else _roles(description)
    whole = {name: path for name, path in scans.items() if not parts.get(name)}
    return whole | channels.get(pet, {}), channels.get(ct, {}) if ct is not None else {}


def _roles(description: Path) -> tuple[int, int | None]:
    """Return the numbers of PET and CT from ``channel_names`` (nnU-Net) or ``modality`` (MSD) of dataset.json."""
    names = _channel_names(description)
    words = {number: set(re.split("[^a-z]+", name.lower())) for number, name in names.items()}
    pets = [number for number, found in words.items() if found & PET_WORDS and not found & CT_WORDS]
    cts = [number for number, found in words.items() if found & CT_WORDS and not found & PET_WORDS]
    if len(pets) != 1 or len(cts) > 1:
        listed = ", ".join(f"{number}: {name}" for number, name in names.items()) or "none"
        raise UserError(
            f"{description}: the scans have several channels and their names are {listed}; name one PET and at most "
            'one CT, as in "channel_names": {"0": "CT", "1": "PET"}'
        )
    return pets[0], cts[0] if cts else None


def _channel_names(description: Path) -> dict[int, str]:
    """Read the names of the channels; empty where the file is missing or has none."""
    try:
        content: Any = json.loads(description.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{description}: is not valid JSON ({error})") from error
    listed = content.get("channel_names", content.get("modality")) if isinstance(content, dict) else None
    if not isinstance(listed, dict):
        return {}
    return {int(number): str(name) for number, name in listed.items() if number.isdecimal()}


def _images(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by their names without the ending; none where there is no such folder."""
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _is_image(path):
            other = images.setdefault(_stem(path), path)
            if other != path:
                raise UserError(f"{path} and {other.name} could be the same scan; remove one")
    return images


def _is_image(path: Path) -> bool:
    """Whether a file has the name of an image; names that start with a dot are metadata of macOS."""
    return suffix_of(path) is not None and not path.name.startswith(".")


def _stem(path: Path) -> str:
    return path.name.removesuffix(suffix_of(path) or "")


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _partner(files: dict[str, Path], name: str, *, single: bool) -> Path | None:
    """Return the file with this name. If the case has one scan and one file, return this file, whatever its name is."""
    return next(iter(files.values())) if single and len(files) == 1 else files.get(name)
