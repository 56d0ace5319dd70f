"""Layouts of data sets: which files belong to a case.

Only folders are read, and a few images where nothing else tells PET from CT. Files may have any ending of
``formats.SUFFIXES``. A case without scan or label is listed, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from swfastedit_core.challenge.interface import CT, PET, TASKS
from swfastedit_core.errors import UserError
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.train.data.channels import ChannelNumbers, choose_channels, split_channels
from swfastedit_core.train.data.folders import ImageFolder, list_folders, list_images
from swfastedit_core.train.data.patients import patient_of

CHANNELS_LAYOUT = "images"  # the only one with nnU-Net's channels, and with imagesTs
MASKS = [task.mask for task in TASKS.values()]


@dataclass(frozen=True)
class Files:
    """The files of one case.

    Attributes
    ----------
    case
        Name of the case, unique in the data set.
    patient
        Patient of the scan.
    pet, label, ct
        None where the data set has none for the case.
    problem
        Which file is missing, if the scan or the label is; else empty.
    ct_problem
        The same for the CT.
    """

    case: str
    patient: str
    pet: Path | None
    label: Path | None
    ct: Path | None
    problem: str
    ct_problem: str


@dataclass(frozen=True)
class Search:
    """What the user says about the files of a data set, and where remarks about them go.

    Attributes
    ----------
    channels
        Numbers of nnU-Net's channels, where the user gave them.
    form
        As `read_volume`, for images that are read to tell PET from CT.
    remark
        Called with a sentence that the user should check.
    part
        ``Tr`` for imagesTr with labelsTr, ``Ts`` for imagesTs with labelsTs; for layout ``images`` only.
    """

    channels: ChannelNumbers = field(default_factory=ChannelNumbers)
    form: Form = "auto"
    remark: Callable[[str], None] = lambda _: None
    part: Literal["Tr", "Ts"] = "Tr"


@dataclass(frozen=True)
class Layout:
    """The layout of a data set.

    Attributes
    ----------
    looks_like
        Description for the user, relative to the data set's folder.
    find
        Function that lists the cases of a folder.
    label_grid
        As `sources.Source.label_grid`.
    """

    looks_like: str
    find: Callable[[Path, Search], Iterator[Files]]
    label_grid: str = "pet"


@dataclass(frozen=True)
class _Place:
    """Where a file of a case is expected: the folder, and the name without the ending."""

    folder: ImageFolder
    name: str

    @property
    def path(self) -> Path | None:
        return self.folder.images.get(self.name)

    def describe_missing(self, what: str) -> str:
        return "" if self.path else f"the case has no {what}, {self.folder.describe_missing(self.name)}"


def _files(case: str, patient: str, *, pet: _Place, label: _Place, ct: _Place) -> Files:
    problem = pet.describe_missing("scan") or label.describe_missing("label")
    return Files(case, patient, pet.path, label.path, ct.path, problem, ct.describe_missing("CT"))


def _autopet2(folder: Path, _: Search) -> Iterator[Files]:
    for patient in list_folders(folder):
        for study in list_folders(patient):
            images = list_images(study)
            if images.similar("SUV") or images.similar("SEG"):
                pet, label, ct = (_Place(images, name) for name in ("SUV", "SEG", "CTres"))
                yield _files(f"{patient.name}/{study.name}", patient.name, pet=pet, label=label, ct=ct)


def _imagestr(folder: Path, search: Search) -> Iterator[Files]:
    """Find scans by the label's name or by nnU-Net's names; a CT is a channel or lies in a folder of its own."""
    scans, labels = (list_images(folder / f"{name}{search.part}") for name in ("images", "labels"))
    ct_names = ("ct", "ctTr") if search.part == "Tr" else ("ctTs", "ct")  # ct may hold the CTs of both parts
    ct_folders = [list_images(folder / name) for name in ct_names]
    own_cts = next((cts for cts in ct_folders if cts.all_images), ct_folders[0])
    whole, channels = split_channels(scans.all_images, labels.all_images)
    numbers = ChannelNumbers()
    if channels:
        numbers = choose_channels(
            channels, search.channels, folder / "dataset.json", form=search.form, remark=search.remark
        )
    elif search.channels != numbers:
        search.remark(f"{folder}: the scans have no channels; --pet-channel and --ct-channel have no effect on them")

    def channel(case: str, number: int | None) -> str:
        return case if number is None or case in whole else f"{case}_{number:04d}"

    named = [*whole, *(channels[numbers.pet] if numbers.pet is not None else ())]
    for case in _add(named, labels.all_images):
        pet = _Place(scans, channel(case, numbers.pet))
        cts = [_Place(scans, channel(case, numbers.ct))] if numbers.ct is not None and case not in whole else []
        cts += [_Place(own_cts, name) for name in (case, pet.name)]
        ct = next((place for place in cts if place.path), cts[0])
        yield _files(case, patient_of(case), pet=pet, label=_Place(labels, case), ct=ct)


def _hecktor(folder: Path, _: Search) -> Iterator[Files]:
    scans, labels = list_images(folder / "imagesTr"), list_images(folder / "labelsTr")
    named = [name.removesuffix("__PT") for name in scans.all_images if name.endswith("__PT")]
    for patient in _add(named, labels.all_images):
        pet, ct = (_Place(scans, f"{patient}__{modality}") for modality in ("PT", "CT"))
        yield _files(patient, patient, pet=pet, label=_Place(labels, patient), ct=ct)


def _challenge(folder: Path, _: Search) -> Iterator[Files]:
    """Find the platform's folders: one set for all cases, or one folder per case.

    In a folder per case, file names may be random identifiers.
    """
    for place in [folder, *list_folders(folder)]:
        pets, cts, labels = list_images(place / PET), list_images(place / CT), _masks(place)
        single = len(pets.images) == 1
        paired = {name: _partner(labels, name, single=single) for name in pets.images}
        left = [name for name in labels.all_images if name not in {label.name for label in paired.values()}]
        for name in _add(paired, [*pets.other_case, *left]):
            owner = name if place == folder else place.name
            alone = place == folder or (single and name in paired)
            yield _files(
                owner if alone else f"{owner}/{name}",
                patient_of(owner),
                pet=_Place(pets, name),
                label=paired.get(name, _Place(labels, name)),
                ct=_partner(cts, name, single=single),
            )


LAYOUTS = {
    "autopet2": Layout(
        "<patient>/<study>/SUV.nii.gz with SEG.nii.gz and, where CT is wanted, CTres.nii.gz",
        _autopet2,
    ),
    CHANNELS_LAYOUT: Layout(
        "imagesTr/NAME.nii.gz or imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz and, where CT is wanted, "
        "ct/NAME.nii.gz or a second channel",
        _imagestr,
    ),
    "hecktor": Layout(
        "imagesTr/<patient>__PT.nii.gz with labelsTr/<patient>.nii.gz and, where CT is wanted, "
        "imagesTr/<patient>__CT.nii.gz",
        _hecktor,
        label_grid="any",  # the contours were made on the CT
    ),
    "challenge": Layout(
        f"{PET}/NAME.mha with {' or '.join(f'{mask}/NAME.mha' for mask in MASKS)} and, where CT is wanted, "
        f"{CT}/NAME.mha; or one folder for each case with these in it",
        _challenge,
    ),
}


def find_files(layout: Layout, folder: Path, search: Search) -> list[Files]:
    """List the cases of a data set, sorted by name; also those of which only a scan or only a label exists.

    Raises
    ------
    UserError
        If the folder is missing or cannot be read, two files could be the same scan, or nothing tells PET from CT.
    """
    try:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, expected in it: {layout.looks_like}")
        return sorted(layout.find(folder, search), key=lambda files: files.case)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error


def _masks(place: Path) -> ImageFolder:
    """Return the masks of all sockets as one folder."""
    folders = [list_images(place / mask) for mask in MASKS]
    used = next((folder for folder in folders if folder.all_images), folders[0])
    images: dict[str, Path] = {}
    for folder in folders:
        for name, path in folder.images.items():
            if name in images:
                raise UserError(f"{path} and {images[name]} could be the same label; remove one")
            images[name] = path
    return ImageFolder(used.path, images, {name: path for one in folders for name, path in one.other_case.items()})


def _partner(files: ImageFolder, name: str, *, single: bool) -> _Place:
    """Return the file with this name. If the case has one scan and one file, return this file, whatever its name is."""
    return _Place(files, next(iter(files.images)) if single and len(files.images) == 1 else name)


def _add(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Add names of other files. A name that differs only in upper and lower case belongs to the same case."""
    first = dict.fromkeys(names)
    known = {name.casefold() for name in first}
    return [*first, *{name.casefold(): name for name in others if name.casefold() not in known}.values()]
