"""Synthetic whole-body FDG-PET with known lesions.

A patient is drawn from a seed as solids in patient millimetres (`draw_patient`), painted on a voxel grid,
blurred by the scanner's resolution and overlaid with noise (`make_phantom`). The label is what was put there.

>>> from swfastedit_core.phantom import make_phantom
>>> phantom = make_phantom(7)
>>> phantom.pet.array_zyx.shape == phantom.label.array_zyx.shape
True
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.lesions import MAX_LESIONS, Lesion
from swfastedit_core.phantom.patient import Patient, draw_patient, field_of_view, noise_stream
from swfastedit_core.phantom.scanner import Scanner, activity_map, add_noise, blurred, mask_of
from swfastedit_core.volume import Geometry, Volume

__all__ = ["Lesion", "Patient", "Phantom", "Scanner", "draw_patient", "field_of_view", "make_phantom"]


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan and the truth about it.

    Attributes
    ----------
    pet
        SUV (body weight), float32 [Z, Y, X].
    label
        1 in lesions, 0 elsewhere, uint8 on the same grid.
    lesions
        The lesions of which the grid holds at least one voxel.
    """

    pet: Volume
    label: Volume
    lesions: tuple[Lesion, ...]


def make_phantom(
    seed: int,
    *,
    geometry: Geometry | None = None,
    lesions: int | None = None,
    scanner: Scanner | None = None,
) -> Phantom:
    """Draw a patient and scan them. The same arguments give the same bytes.

    Parameters
    ----------
    seed
        Zero or more; names the patient.
    geometry
        Grid in the patient's millimetres (x = 0 in the midline, z = 0 at the vertex), of any spacing and
        orientation, left-handed included. None takes `field_of_view`.
    lesions
        How many, 0 to 30. None draws it: none in 22 of 100 patients.
    scanner
        Resolution and noise. None takes the patient's own.

    Returns
    -------
    Phantom
        PET, label and lesions.

    Raises
    ------
    ValueError
        If the seed is negative or the number of lesions is not 0 to 30.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}, expected 0 or more")
    if lesions is not None and not 0 <= lesions <= MAX_LESIONS:
        raise ValueError(f"{lesions} lesions, expected 0 to {MAX_LESIONS}")
    patient = draw_patient(seed, lesions=lesions)
    grid = field_of_view(seed) if geometry is None else geometry
    machine = patient.scanner if scanner is None else scanner
    label = np.zeros(grid.shape_zyx, np.uint8)
    found = []
    for lesion in patient.lesions:
        mask = mask_of(lesion.shape, grid)
        if mask is not None:
            label[mask[0]] |= mask[1]
            found.append(lesion)
    pet = activity_map([*patient.healthy, *(r for lesion in patient.lesions for r in lesion.regions)], grid)
    pet = blurred(pet, fwhm_mm=machine.fwhm_mm, spacing_mm=grid.spacing_mm)
    if machine.noise > 0:
        pet = add_noise(pet, grid, scanner=machine, rng=noise_stream(seed))
    return Phantom(Volume(pet, grid), Volume(label, grid), tuple(found))
