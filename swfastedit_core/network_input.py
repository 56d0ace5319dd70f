"""From PET and CT to the input of the networks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.body import Cells, find_body, mean_cells
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.intensity import scale_hu, scale_intensity
from swfastedit_core.preprocess import Placement, Preprocessing, place, to_network_grid, to_patient
from swfastedit_core.resample import resample_ct, share_inside
from swfastedit_core.system.stopwatch import timed
from swfastedit_core.volume import Geometry, Volume

CT_SHARE = 0.8  # of the body; below it a CT may be that of another scan


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """The input of a network, its placement, and what the window plan needs.

    Attributes
    ----------
    image
        float32 [1, X, Y, Z] in [0, 1], the PET; with a CT [2, X, Y, Z].
    placement
        Relation of the network's grid to the file's grid.
    cells
        The PET's mean SUV in cells of about 8 mm.
    uniform
        Whether all voxels of the PET are the same.
    """

    image: Tensor
    placement: Placement
    cells: Cells
    uniform: bool

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the file in ml."""
        spacing_mm = np.divide(self.cells.spacing_mm, self.placement.step)
        return float(spacing_mm.prod()) / 1000.0


@timed("prepare")
def prepare(pet: Volume, networks: Ensemble, *, ct: Volume | None = None) -> dict[Preprocessing, NetworkInput]:
    """Return the input of the networks, by their preprocessing.

    Parameters
    ----------
    pet
        SUV, float32 [Z, Y, X], of any geometry.
    networks
        From `load_networks`.
    ct
        HU, of any geometry; from `align_ct` it is not resampled again.

    Raises
    ------
    UserError
        As `align_ct`.
    """
    ct = align_ct(ct, pet.geometry, networks)
    uniform = bool(pet.array_zyx.min() == pet.array_zyx.max())
    return {
        preprocessing: _prepare(
            pet, ct if networks.takes_ct(preprocessing) else None, preprocessing, networks.device, uniform=uniform
        )
        for preprocessing in networks.preprocessings
    }


def align_ct(ct: Volume | None, grid: Geometry, networks: Ensemble) -> Volume | None:
    """Resample a CT to the PET's grid; None if no network takes a CT.

    Raises
    ------
    UserError
        If a network takes a CT and there is none, or the CT does not overlap the PET.
    """
    network = networks.ct_network
    if network is None:
        return None
    if ct is None:
        raise UserError(f"{network.source}: the network takes PET and CT, and no CT was given; pass it as ct=")
    return resample_ct(ct, grid)


@timed("plan")
def check_ct_cover(prepared: NetworkInput, grid: Geometry, ct_grid: Geometry) -> float:
    """Return the share of the body that a CT covers, and warn if it is below 0.8.

    Parameters
    ----------
    prepared
        The scan.
    grid, ct_grid
        Of the PET's file and of the CT's.

    Returns
    -------
    float
        0 to 1; 1 if there is no body.
    """
    body = find_body(prepared.cells)
    if body is None:
        return 1.0
    quarters = np.array(list(product((0.25, 0.75), repeat=3)))  # eight points of each cell
    points = (np.argwhere(body.cells)[:, None] + quarters).reshape(-1, 3) * body.cell - 0.5
    share = share_inside(to_patient(points, prepared.placement, grid), ct_grid)
    if share < CT_SHARE:
        warnings.warn(
            DataWarning(f"the CT covers {100 * share:.0f} % of the body in the PET; the rest is taken for air"),
            stacklevel=2,
        )
    return share


def _prepare(
    pet: Volume, ct: Volume | None, preprocessing: Preprocessing, device: torch.device, *, uniform: bool
) -> NetworkInput:
    placement = place(pet.geometry, preprocessing.spacing_mm)
    suv = to_network_grid(pet, placement, device)
    cells = mean_cells(suv, preprocessing.spacing_mm)
    scaled = scale_intensity(suv, preprocessing.intensity)
    if ct is None:
        return NetworkInput(scaled[None], placement, cells, uniform)
    del suv  # here and below: the CT needs the memory
    image = torch.empty((2, *placement.network_shape), device=device)
    image[0] = scaled
    del scaled
    image[1] = scale_hu(to_network_grid(ct, placement, device), preprocessing.ct_hu)
    return NetworkInput(image, placement, cells, uniform)
