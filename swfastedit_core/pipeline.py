"""A scan from voxels to mask: prepare → plan → infer → restore and vote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box
from swfastedit_core.components import remove_small_components
from swfastedit_core.engine import Engine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import infer
from swfastedit_core.intensity import scale_hu, scale_intensity
from swfastedit_core.postprocess import Votes
from swfastedit_core.preprocess import Placement, Preprocessing, place, to_network_grid
from swfastedit_core.resample import resample_ct
from swfastedit_core.system.stopwatch import Stopwatch, timed
from swfastedit_core.volume import Geometry, Volume
from swfastedit_core.windows import Cells, WindowPlan, find_body, mean_cells, plan_windows

OVERLAP = 0.75  # the recipe's

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask, its size, the number of windows and the times.

    Attributes
    ----------
    mask
        uint8 [Z, Y, X], 1 = lesion, on the scan's own grid.
    lesion_voxels, lesion_ml
        Size of the mask.
    windows, windows_full_grid
        Windows that ran, and windows of the recipe's grid over the whole volume; both are sums over all networks.
    seconds
        Wall time by stage: prepare, plan, compile (the wait for networks that are prepared in the background),
        network, restore.
    """

    mask: Volume
    lesion_voxels: int
    lesion_ml: float
    windows: int
    windows_full_grid: int
    seconds: dict[str, float]


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


def segment(
    pet: Volume,
    networks: Ensemble,
    *,
    ct: Volume | None = None,
    full_grid: bool = False,
    overlap: float = OVERLAP,
    majority: bool = False,
    min_lesion_ml: float = 0.0,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment the lesions in a scan.

    PET and CT are released once the network input exists, if the caller keeps no reference.

    Parameters
    ----------
    pet
        SUV, float32 [Z, Y, X], of any geometry.
    networks
        From `load_networks`.
    ct
        HU, [Z, Y, X], of any geometry; it is resampled to the PET's grid by patient coordinates. Needed if a network
        takes a CT, otherwise ignored.
    full_grid
        Cover the whole volume with windows, as the recipe does, instead of the body. Without it, a scan with equal
        voxels gets an empty mask and no windows.
    overlap
        Share of a window's side that neighbours have in common.
    majority
        Combine an ensemble by majority vote instead of the mean of probabilities.
    min_lesion_ml
        Clear connected components smaller than this.
    progress
        Called with the number of finished windows and of planned windows.

    Returns
    -------
    Segmentation
        The mask on the scan's grid.

    Raises
    ------
    UserError
        If a network needs a CT and there is none, or the CT does not overlap the PET; if the overlap is out of range
        or memory runs out.
    """
    grid = pet.geometry
    with Stopwatch(networks.device) as stopwatch:
        with stopwatch.stage("prepare"):
            ct = align_ct(ct, grid, networks)
        inputs = prepare(pet, networks, ct=ct)
        del pet, ct
        jobs = [(network, inputs[network.config.preprocessing]) for network in networks]
        plans = [plan(prepared, network, overlap=overlap, full_grid=full_grid) for network, prepared in jobs]
        networks.wait()
        outputs = _infer_all(jobs, plans, progress)
        mask = vote(outputs, networks, grid, majority=majority, min_lesion_ml=min_lesion_ml)
    voxels = int(np.count_nonzero(mask.array_zyx))
    return Segmentation(
        mask=mask,
        lesion_voxels=voxels,
        lesion_ml=voxels * grid.voxel_ml,
        windows=sum(len(p.starts) for p in plans),
        windows_full_grid=sum(
            len(full_grid_plan(prepared, network, overlap=overlap).starts) for network, prepared in jobs
        ),
        seconds=stopwatch.seconds,
    )


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


@timed("plan")
def plan(prepared: NetworkInput, network: Engine, *, overlap: float = OVERLAP, full_grid: bool = False) -> WindowPlan:
    """Plan a network's windows over the body; without a body over the whole volume. A uniform scan gets none.

    Raises
    ------
    UserError
        If the overlap is out of range.
    """
    if full_grid:
        return full_grid_plan(prepared, network, overlap=overlap)
    shape, window = prepared.placement.network_shape, network.config.window
    windows = plan_windows(shape, window=window, overlap=overlap, body=find_body(prepared.cells))
    return WindowPlan(shape, window, ()) if prepared.uniform else windows


def full_grid_plan(prepared: NetworkInput, network: Engine, *, overlap: float = OVERLAP) -> WindowPlan:
    """Plan the recipe's windows, over the whole volume."""
    return plan_windows(prepared.placement.network_shape, window=network.config.window, overlap=overlap)


def vote(
    outputs: Iterable[tuple[Tensor, Box, Placement]],
    networks: Ensemble,
    grid: Geometry,
    *,
    majority: bool = False,
    min_lesion_ml: float = 0.0,
) -> Volume:
    """Bring the logits of the networks to the file's grid and combine them.

    Parameters
    ----------
    outputs
        For each network its logits as `infer` returns them, float32 [X, Y, Z], the region that they belong to, and the
        placement of the network's grid. An iterator is asked for the next one after the vote of the one before.
    networks
        The ensemble.
    grid
        Of the file.
    majority, min_lesion_ml
        As in `segment`.

    Returns
    -------
    Volume
        The mask, uint8 [Z, Y, X], 1 = lesion.
    """
    votes = Votes(grid, networks=len(networks), majority=majority, device=networks.device)
    for logits, region, placement in outputs:
        votes.add(logits, region, placement)
        del logits  # frees memory before the next network runs
    return _decide(votes, grid, min_lesion_ml)


def warm_up(networks: Ensemble) -> None:
    """Run a few windows through each network, so that libraries are initialised before the first scan.

    Raises
    ------
    UserError
        As `segment`.
    """
    for network in networks:
        x, y, z = network.config.window
        shape = (x * network.batch, y, z)
        image = torch.zeros((network.config.channels.count, *shape), device=network.device)
        infer(image, plan_windows(shape, window=network.config.window, overlap=0.0), network)


def _infer_all(
    jobs: list[tuple[Engine, NetworkInput]], plans: list[WindowPlan], progress: Progress | None
) -> Iterator[tuple[Tensor, Box, Placement]]:
    """Run one network after the other; yield what `vote` takes."""
    done, windows = 0, sum(len(p.starts) for p in plans)
    for (network, prepared), plan_of_network in zip(jobs, plans, strict=True):
        report = None if progress is None else lambda count, before=done: progress(before + count, windows)
        image = prepared.image[: network.config.channels.image_channels]
        yield infer(image, plan_of_network, network, progress=report), plan_of_network.region, prepared.placement
        done += len(plan_of_network.starts)


@timed("restore")
def _decide(votes: Votes, grid: Geometry, min_lesion_ml: float) -> Volume:
    lesions = votes.decide()
    if min_lesion_ml > 0:
        lesions = remove_small_components(lesions, min_voxels=min_lesion_ml / grid.voxel_ml)
    mask: np.ndarray = lesions.view(torch.uint8).cpu().numpy()  # the same bytes
    return Volume(mask, grid)


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
