"""Simulate a scan.

`sample_patient` samples a patient from a seed: solids in patient millimetres, each with an uptake. `make_phantom`
paints them on a voxel grid, blurs the grid with the scanner's resolution and adds noise. The label has the unblurred
lesions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.lesions import MAX_LESIONS, Lesion
from swfastedit_core.phantom.patient import field_of_view, noise_rng, sample_patient
from swfastedit_core.phantom.scanner import Scanner, activity_map, add_noise, blur, rasterize
from swfastedit_core.volume import Geometry, Volume


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan with its label.

    Attributes
    ----------
    pet
        SUV (body weight), float32 [Z, Y, X].
    label
        1 in lesions, 0 elsewhere; uint8 [Z, Y, X] on the same grid.
    lesions
        The lesions with at least one voxel on the grid.
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
    """Sample a patient and simulate the scan. The same arguments give the same voxels, bit for bit.

    Parameters
    ----------
    seed
        0 or more; it determines the patient.
    geometry
        Grid in the patient's millimetres (x = 0 in the midline, z = 0 at the vertex), of any spacing and
        orientation, left-handed included. None: `field_of_view` of the seed.
    lesions
        Number of lesions, 0 to 30. None: sampled; 22 of 100 patients have no lesion.
    scanner
        Resolution and noise. None: the scanner of the patient.

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
    patient = sample_patient(seed, lesions=lesions)
    grid = field_of_view(seed) if geometry is None else geometry
    machine = patient.scanner if scanner is None else scanner
    label = np.zeros(grid.shape_zyx, np.uint8)
    visible = []
    for lesion in patient.lesions:
        mask = rasterize(lesion.shape, grid)
        if mask is not None:
            label[mask[0]] |= mask[1]
            visible.append(lesion)
    pet = activity_map([*patient.healthy, *(r for lesion in patient.lesions for r in lesion.regions)], grid)
    pet = blur(pet, fwhm_mm=machine.fwhm_mm, spacing_mm=grid.spacing_mm)
    if machine.noise > 0:
        pet = add_noise(pet, grid, scanner=machine, rng=noise_rng(seed))
    return Phantom(Volume(pet, grid), Volume(label, grid), tuple(visible))
