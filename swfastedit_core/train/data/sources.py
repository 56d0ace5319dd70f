"""Sources of cases for training: files or phantoms, and how they are read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.read import read_ct, read_label, read_volume
from swfastedit_core.phantom import make_phantom
from swfastedit_core.resample import require_overlap, resample, resample_ct
from swfastedit_core.train.data.layouts import LAYOUTS, find_files
from swfastedit_core.volume import Geometry, Volume

PHANTOM = "phantom"
SEEDS_PER_SET = 100_000  # as in the phantom command: case i of seed s is the patient s * 100,000 + i
SAME_GRID_MM = 0.1  # tolerance for the corners of equal grids: headers are rounded
WHOLE = 1e-3  # tolerance for whole label values: some are stored with a scale factor
MAX_LABEL_VALUES = 1000  # in one file; a CT that is named as a label has more


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
        "pet": the label must be on the PET's grid. "any": the label is resampled to the PET's grid.
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


def find_sources(spec: str, *, seed: int, lesion_labels: tuple[int, ...] = ()) -> list[Source]:
    """List the cases of a data set, with and without label.

    Parameters
    ----------
    spec
        ``LAYOUT:PATH`` with one of ``layouts.LAYOUTS``, or ``phantom:N`` for N phantoms, which are made when they are
        read. In layout ``images``, imagesTs and labelsTs are not for training and are ignored.
    seed
        Seed of the phantoms: they are the same as those of the phantom command with this seed.
    lesion_labels
        The label values that are lesion; empty: all above 0.

    Returns
    -------
    list of Source
        Sorted by name, at least one.

    Raises
    ------
    UserError
        If the layout is unknown, the folder is missing or holds nothing in that layout, or no scan has a label.

    Warns
    -----
    DataWarning
        If there are labels without a scan.
    """
    layout_name, _, place = spec.partition(":")
    if not place or layout_name not in (*LAYOUTS, PHANTOM):
        raise UserError(f"{spec}: expected LAYOUT:PATH with LAYOUT one of {', '.join(LAYOUTS)}, or {PHANTOM}:N")
    if layout_name == PHANTOM:
        return _phantoms(spec, place, seed)
    if 0 in lesion_labels:
        raise UserError("0 was named as a lesion value, but 0 is the background")
    layout, folder = LAYOUTS[layout_name], Path(place).expanduser()
    cases, unmatched = find_files(layout, folder)
    if not cases:
        raise UserError(f"{folder}: no scan found, expected in it: {layout.looks_like}")
    if not any(files.label for files in cases):
        raise UserError(
            f"{folder}: {len(cases)} scan(s), such as {cases[0].pet.name}, but no label for any; expected in it: "
            f"{layout.looks_like}"
        )
    if unmatched:
        names = ", ".join(str(path.relative_to(folder)) for path in unmatched[:3])
        warnings.warn(
            DataWarning(f"{folder}: {len(unmatched)} label(s) without a scan are not used: {names}"), stacklevel=2
        )
    return [
        Source(
            files.case,
            files.patient,
            spec,
            pet=files.pet,
            label=files.label,
            ct=files.ct,
            lesion_labels=lesion_labels,
            label_grid=layout.label_grid,
        )
        for files in cases
    ]


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
        If a file is missing or damaged, label values are not integers, or the grid of label or CT does not fit
        the PET's.
    """
    if with_ct and source.ct is None:
        raise UserError(f"{source.case}: the case has no CT")
    if source.phantom_seed is not None:
        phantom = make_phantom(source.phantom_seed)
        return Scan(phantom.pet, phantom.label, label_values=(1,) if phantom.label.array_zyx.any() else ())
    if source.pet is None or source.label is None:
        raise UserError(f"{source.case}: the case has no {'label' if source.pet else 'scan'}")
    pet = read_volume(source.pet)
    on_file, values = _read_label(source.label)
    lesions = Volume(_lesions(on_file.array_zyx, source.lesion_labels), on_file.geometry)
    if source.label_grid == "any":
        label = _resample_mask(pet.geometry, lesions, source.label)
    else:
        _require_same_grid(pet.geometry, lesions.geometry, source.label)
        label = Volume(lesions.array_zyx, pet.geometry)
    ct = _read_ct(source.ct, pet.geometry) if with_ct and source.ct else None
    return Scan(pet, label, ct, values)


def _phantoms(spec: str, count: str, seed: int) -> list[Source]:
    if not (count.isascii() and count.isdecimal() and 1 <= int(count) <= SEEDS_PER_SET):
        raise UserError(f"{spec}: expected {PHANTOM}:N with N from 1 to {SEEDS_PER_SET:,}")
    names = [f"phantom_{seed}_{case:04d}" for case in range(int(count))]
    return [Source(name, name, spec, phantom_seed=seed * SEEDS_PER_SET + case) for case, name in enumerate(names)]


def _read_label(path: Path) -> tuple[Volume, tuple[int, ...]]:
    """Read a label as it is in the file, float32; return it and its values except 0."""
    label = read_label(path)
    marked = label.array_zyx[label.array_zyx != 0]
    broken = marked[np.abs(marked - np.rint(marked)) > WHOLE]
    if broken.size:
        raise UserError(
            f"{path}: {broken.size:,} voxels of the label are not integers, such as {broken[0]:g}; expected a mask "
            "with 0, 1, … (not probabilities, not a linearly resampled mask)"
        )
    values = [int(value) for value in np.unique(np.rint(marked)) if value]
    if len(values) > MAX_LABEL_VALUES:
        raise UserError(f"{path}: {len(values):,} different values in the label, expected a few; is it a scan?")
    return label, tuple(values)


def _lesions(values: np.ndarray, lesion_labels: Sequence[int]) -> np.ndarray:
    """Return uint8: 1 where the label value is a lesion value (none given: above 0), 0 elsewhere."""
    if not lesion_labels:
        return (values > 0.5).astype(np.uint8)
    lesions = np.zeros(values.shape, bool)
    for wanted in lesion_labels:
        lesions |= np.abs(values - wanted) < 0.5
    return lesions.astype(np.uint8)


def _require_same_grid(pet: Geometry, label: Geometry, path: Path) -> None:
    same_size = pet.size_xyz == label.size_xyz
    if not same_size or np.abs(pet.corners_mm - label.corners_mm).max() > SAME_GRID_MM:
        raise UserError(f"{path}: the label's grid, {_in_words(label)}, is not that of the scan, {_in_words(pet)}")


def _resample_mask(grid: Geometry, mask: Volume, path: Path) -> Volume:
    """Resample a mask of 0 and 1 linearly; voxels of 0.5 or more become 1.

    Linear interpolation gives a smooth border; nearest-neighbour interpolation gives steps. The mask holds 0 and 1, not
    label values: the mean of the labels 0 and 2 would be label 1. All lesions are resampled together. Separately, two
    touching lesions would get a gap between them.
    """
    array = (resample(mask, grid, outside=0.0).array_zyx >= 0.5).astype(np.uint8)
    if mask.array_zyx.any() and not array.any():
        raise UserError(
            f"{path}: the label has no lesion inside the scan; label: {_in_words(mask.geometry)}; scan: "
            f"{_in_words(grid)}; check that both are of the same patient"
        )
    return Volume(array, grid)


def _read_ct(path: Path, grid: Geometry) -> Volume:
    """Read a CT and resample it to the PET's grid."""
    ct = read_ct(path)
    require_overlap(ct.geometry, grid, source=str(path))
    return resample_ct(ct, grid)


def _in_words(grid: Geometry) -> str:
    """Describe a grid for a message."""
    size, spacing_mm = "×".join(map(str, grid.size_xyz)), "×".join(f"{mm:.4g}" for mm in grid.spacing_mm)
    origin_mm = ", ".join(f"{mm:.2f}" for mm in grid.origin_mm)
    axes = ", ".join(f"{round(cosine, 3) + 0.0:g}" for cosine in grid.direction)  # + 0.0: no -0
    return f"{size} voxels of {spacing_mm} mm from ({origin_mm}) along ({axes})"
