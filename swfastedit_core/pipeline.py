"""A scan from voxels to mask: prepare → plan → infer → restore and vote."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.box import Box
from swfastedit_core.clicks import Click, FileVoxels, file_voxels
from swfastedit_core.components import remove_small_components
from swfastedit_core.engine import Engine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import DataWarning, NotFiniteError
from swfastedit_core.guidance import Guidance
from swfastedit_core.inferer import infer
from swfastedit_core.network_input import NetworkInput, align_ct, prepare
from swfastedit_core.planning import (
    OVERLAP,
    clicks_outside,
    full_grid_plan,
    guidance_for,
    plan,
    warn_of_clicks_outside,
    warn_of_missing_ct,
    warn_of_unused_clicks,
)
from swfastedit_core.postprocess import Votes
from swfastedit_core.preprocess import Placement
from swfastedit_core.system.stopwatch import Stopwatch, timed
from swfastedit_core.volume import Geometry, Volume
from swfastedit_core.windows import WindowPlan, plan_windows

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


def segment(
    pet: Volume,
    networks: Ensemble,
    *,
    ct: Volume | None = None,
    clicks: Iterable[Click] = (),
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
    clicks
        An annotator's clicks. Networks without guidance channels ignore them, with a warning.
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
        If a network needs a CT and there is none, or the CT does not overlap the PET; if a click lies outside the
        scan, the overlap is out of range or memory runs out.

    Warns
    -----
    DataWarning
        If something about the scan should be checked, a network ignores clicks, or clicks lie outside its windows.
    """
    grid = pet.geometry
    clicked = file_voxels(clicks, grid)
    warn_of_unused_clicks(clicked, networks)
    with Stopwatch(networks.device) as stopwatch:
        ct_grid = None if ct is None else ct.geometry
        with stopwatch.stage("prepare"):
            ct = align_ct(ct, grid, networks)
        inputs = prepare(pet, networks, ct=ct)
        del pet, ct
        warn_of_missing_ct(inputs, networks, grid, ct_grid)
        jobs = [(network, inputs[network.config.preprocessing]) for network in networks]
        plans = [plan(prepared, network, overlap=overlap, full_grid=full_grid) for network, prepared in jobs]
        warn_of_clicks_outside(
            clicks_outside(clicked, windows.boxes, prepared.placement)
            for (network, prepared), windows in zip(jobs, plans, strict=True)
            if network.config.channels.takes_clicks
        )
        networks.wait()
        outputs = _infer_all(jobs, plans, clicked, progress)
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


def float32_after(error: NotFiniteError, network: Engine) -> Engine:
    """Return the engine that repeats a scan whose output was not finite, and warn.

    Raises
    ------
    NotFiniteError
        The error, if the precision is not float16, or the user chose it.
    """
    exact = network.in_float32()
    if exact is None:
        raise error
    text = f"{network.source}: {network.precision} overflowed, so the scan was repeated in float32, which takes longer"
    warnings.warn(DataWarning(text), stacklevel=2)
    return exact


def warm_up(networks: Ensemble) -> None:
    """Run windows of zeros through each network, so that the first scan takes no longer than the others.

    Libraries are initialised, and on a GPU the number of windows at a time is chosen.

    Raises
    ------
    UserError
        As `segment`.
    """
    for network in networks:
        x, y, z = network.config.window
        for windows in network.warm_up_calls():
            shape = (x * windows, y, z)
            image = torch.zeros((network.config.channels.image_channels, *shape), device=network.device)
            infer(image, plan_windows(shape, window=network.config.window, overlap=0.0), network)


def _infer_all(
    jobs: list[tuple[Engine, NetworkInput]], plans: list[WindowPlan], clicked: FileVoxels, progress: Progress | None
) -> Iterator[tuple[Tensor, Box, Placement]]:
    """Run one network after the other; yield what `vote` takes."""
    done, windows = 0, sum(len(p.starts) for p in plans)
    for (network, prepared), plan_of_network in zip(jobs, plans, strict=True):
        report = None if progress is None else lambda count, before=done: progress(before + count, windows)
        image = prepared.image[: network.config.channels.image_channels]
        guidance = guidance_for(network, prepared.placement, clicked)
        logits = _infer_finite(image, plan_of_network, network, guidance, report)
        yield logits, plan_of_network.region, prepared.placement
        del logits
        done += len(plan_of_network.starts)


def _infer_finite(
    image: Tensor,
    plan: WindowPlan,
    network: Engine,
    guidance: Guidance | None,
    progress: Callable[[int], None] | None,
) -> Tensor:
    """Run a network; if float16 overflows and the user did not choose it, run it again in float32."""
    try:
        return infer(image, plan, network, guidance=guidance, progress=progress)
    except NotFiniteError as error:
        exact = float32_after(error, network)
    return infer(image, plan, exact, guidance=guidance, progress=progress)


@timed("restore")
def _decide(votes: Votes, grid: Geometry, min_lesion_ml: float) -> Volume:
    lesions = votes.decide()
    if min_lesion_ml > 0:
        lesions = remove_small_components(lesions, min_voxels=min_lesion_ml / grid.voxel_ml)
    mask: np.ndarray = lesions.view(torch.uint8).cpu().numpy()  # the same bytes
    return Volume(mask, grid)
