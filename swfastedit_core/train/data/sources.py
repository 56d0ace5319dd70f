"""Sources of cases for training: files or phantoms, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.files.read import read_ct, read_volume
from swfastedit_core.labels.masks import align, read_label_file, resample_mask, select_lesions
from swfastedit_core.phantom import make_phantom
from swfastedit_core.resample import require_overlap, resample_ct
from swfastedit_core.train.data.layouts import CHANNELS_LAYOUT, LAYOUTS, Files, Search, find_files
from swfastedit_core.train.data.patients import patient_by
from swfastedit_core.volume import Geometry, Volume

PHANTOM = "phantom"
SEEDS_PER_SET = 100_000  # as in the phantom command: case i of seed s is the patient s * 100,000 + i


@dataclass(frozen=True)
class Source:
    """Where a case comes from; plain values that can be sent to another process.

    Attributes
    ----------
    case
        Name of the case, unique in its data set.
    patient
        Patient of the scan; splits are by patient.
    group
        The data set, as the command line names it.
    pet
        File of the scan; None for a phantom.
    label, ct
        Files; None where there is none.
    phantom_seed
        Seed for `make_phantom`; None for files.
    lesion_labels
        The label values that are lesion; empty: all above 0.
    label_grid
        "pet": the label's voxels must be at the places of the PET's. "any": the label is resampled to the PET's grid.
    form
        Which coordinates of a NIfTI file count, as `read_volume`.
    in_test_set
        Whether the case is from imagesTs.
    problem, ct_problem
        Why the case cannot be read, or has no CT, as far as the names of the files show it; else empty.
    """

    case: str
    patient: str
    group: str
    pet: Path | None = None
    label: Path | None = None
    ct: Path | None = None
    phantom_seed: int | None = None
    lesion_labels: tuple[int, ...] = ()
    label_grid: str = "pet"
    form: Form = "auto"
    in_test_set: bool = False
    problem: str = ""
    ct_problem: str = ""


@dataclass(frozen=True, eq=False)
class Scan:
    """A case in memory, all of it on the PET's grid.

    Attributes
    ----------
    pet
        SUV, float32 [Z, Y, X].
    label
        1 in lesions, 0 elsewhere, uint8.
    ct
        HU, float32, `volume.AIR_HU` outside the CT's field; None where no CT was asked for.
    label_values
        Values in the label's file except 0, in ascending order.
    """

    pet: Volume
    label: Volume
    ct: Volume | None = None
    label_values: tuple[int, ...] = ()


def find_sources(
    spec: str,
    *,
    seed: int,
    lesion_labels: tuple[int, ...] = (),
    patient: str | None = None,
    search: Search = Search(),  # noqa: B008 # frozen
) -> list[Source]:
    """List the cases of a data set, with and without label.

    Parameters
    ----------
    spec
        ``LAYOUT:PATH`` with one of ``layouts.LAYOUTS``, or ``phantom:N`` for N phantoms, which are made when they are
        read. In layout ``images``, imagesTs and labelsTs are read only by `find_test_set`.
    seed
        Seed of the phantoms: they are the same as those of the phantom command with this seed.
    lesion_labels
        The label values that are lesion; empty: all above 0.
    patient
        Regular expression with one group that finds the patient in a case's name; None: as the layout says.
    search
        What the user says about the files.

    Returns
    -------
    list of Source
        Sorted by name, at least one.

    Raises
    ------
    UserError
        If the layout is unknown, the folder is missing or holds nothing in that layout, no scan has a label, nothing
        tells PET from CT, or `patient` does not match a name.
    """
    layout_name, _, place = spec.partition(":")
    if not place or layout_name not in (*LAYOUTS, PHANTOM):
        layouts = f"{', '.join(LAYOUTS)}, or {PHANTOM}:N"
        raise UserError(
            f"{spec}: expected LAYOUT:PATH with LAYOUT one of {layouts}; images:DIR takes imagesTr and labelsTr in DIR"
        )
    if layout_name == PHANTOM:
        return _phantoms(spec, place, seed)
    if 0 in lesion_labels:
        raise UserError("0 was named as a lesion value, but 0 is the background")
    layout, folder = LAYOUTS[layout_name], Path(place).expanduser()
    cases = find_files(layout, folder, search)
    _require_pairs(cases, folder, layout.looks_like.replace("Tr/", f"{search.part}/"))
    return [
        Source(
            files.case,
            files.patient if patient is None else patient_by(patient, files.case),
            spec,
            pet=files.pet,
            label=files.label,
            ct=files.ct,
            lesion_labels=lesion_labels,
            label_grid=layout.label_grid,
            form=search.form,
            in_test_set=search.part == "Ts",
            problem=files.problem,
            ct_problem=files.ct_problem,
        )
        for files in cases
    ]


def find_test_set(
    spec: str, *, seed: int, lesion_labels: tuple[int, ...], patient: str | None, search: Search
) -> list[Source]:
    """List the cases in imagesTs of a data set; none if it has no such folder.

    Parameters
    ----------
    spec, seed, lesion_labels, patient, search
        As `find_sources`.

    Raises
    ------
    UserError
        As `find_sources`; also if no scan has a label in labelsTs: many published test sets have none.
    """
    layout, _, place = spec.partition(":")
    folder = Path(place).expanduser()
    if layout != CHANNELS_LAYOUT or not (folder / "imagesTs").is_dir():
        return []
    if not (folder / "labelsTs").is_dir():
        raise UserError(
            f"{folder / 'imagesTs'} has no labels: {folder / 'labelsTs'} is missing, as in many published test sets; "
            "use --fold or --split instead of --validate-on"
        )
    return find_sources(
        spec, seed=seed, lesion_labels=lesion_labels, patient=patient, search=replace(search, part="Ts")
    )


def read_source(source: Source, *, with_ct: bool = False) -> Scan:
    """Read a case from files, or make a phantom.

    Parameters
    ----------
    source
        The case.
    with_ct
        Whether to read the CT as well.

    Raises
    ------
    UserError
        If a file is missing or damaged, label values are not those of a mask, or the grid of label or CT does not fit
        the PET's.
    """
    if source.phantom_seed is None and (source.pet is None or source.label is None):
        what = "label" if source.pet else "scan"
        raise UserError(f"{source.case}: {source.problem or f'the case has no {what}'}")
    if with_ct and source.ct is None:
        raise UserError(f"{source.case}: {source.ct_problem or 'the case has no CT'}")
    if source.phantom_seed is not None:
        phantom = make_phantom(source.phantom_seed)
        return Scan(phantom.pet, phantom.label, label_values=(1,) if phantom.label.array_zyx.any() else ())
    assert source.pet
    assert source.label
    pet = read_volume(source.pet, form=source.form)
    on_file, values = read_label_file(source.label, form=source.form)
    lesions = Volume(select_lesions(on_file.array_zyx, source.lesion_labels), on_file.geometry)
    bring = resample_mask if source.label_grid == "any" else align
    label = bring(lesions, pet.geometry, source.label)
    ct = _read_ct(source.ct, pet.geometry, source.form) if with_ct and source.ct else None
    return Scan(pet, label, ct, values)


def _require_pairs(cases: Sequence[Files], folder: Path, looks_like: str) -> None:
    """Refuse a data set in which no case has a scan, or none has a label."""
    scans = [files.pet for files in cases if files.pet]
    missing = next((f"; {files.case}: {files.problem}" for files in cases if files.problem), "")
    if not scans:
        raise UserError(f"{folder}: no scan found, expected in it: {looks_like}{missing}")
    if not any(files.pet and files.label for files in cases):
        raise UserError(
            f"{folder}: {len(scans)} scan(s), such as {scans[0].name}, but no label for any; expected in it: "
            f"{looks_like}{missing}"
        )


def _phantoms(spec: str, count: str, seed: int) -> list[Source]:
    if not (count.isascii() and count.isdecimal() and 1 <= int(count) <= SEEDS_PER_SET):
        raise UserError(f"{spec}: expected {PHANTOM}:N with N from 1 to {SEEDS_PER_SET:,}")
    names = [f"phantom_{seed}_{case:04d}" for case in range(int(count))]
    return [Source(name, name, spec, phantom_seed=seed * SEEDS_PER_SET + case) for case, name in enumerate(names)]


def _read_ct(path: Path, grid: Geometry, form: Form) -> Volume:
    """Read a CT and resample it to the PET's grid."""
    ct = read_ct(path, form=form)
    require_overlap(ct.geometry, grid, source=str(path))
    return resample_ct(ct, grid)
