"""The whole way of one scan: prepare, plan, infer, restore, combine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.checkpoint import find_checkpoints, read_checkpoint
from swfastedit_core.clock import Stopwatch
from swfastedit_core.engine import Engine, TorchEngine, resolve_device, resolve_precision
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import infer
from swfastedit_core.postprocess import consensus, hard_vote, probability, remove_small_components
from swfastedit_core.preprocess import (
    Placement,
    Preprocessing,
    place,
    restore,
    scale_intensity,
    to_network_grid,
)
from swfastedit_core.volume import Volume
from swfastedit_core.windows import Body, WindowPlan, find_body, plan_windows

OVERLAP = 0.75  # the recipe's

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask and how it came about.

    Attributes
    ----------
    mask
        uint8 [Z, Y, X], 1 = lesion, on the scan's own grid.
    lesion_voxels, lesion_ml
        Size of the mask.
    windows, windows_full_grid
        Windows that ran, and those of the recipe's grid over the whole volume, over all networks.
    seconds
        Wall time by stage: prepare, network, restore.
    """

    mask: Volume
    lesion_voxels: int
    lesion_ml: float
    windows: int
    windows_full_grid: int
    seconds: dict[str, float]


def load_networks(*paths: str | Path, device: str = "auto", precision: str = "auto") -> list[Engine]:
    """Load weights and make them ready to run. Several are an ensemble.

    Parameters
    ----------
    *paths
        Checkpoint files (``.safetensors``, or the authors' ``.pt``), or folders of them.
    device
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.

    Raises
    ------
    UserError
        If weights, device or precision are not what they should be.
    """
    where = resolve_device(device)
    engines: list[Engine] = []
    for path in find_checkpoints(paths):
        checkpoint = read_checkpoint(path)
        if checkpoint.config.channels != ("pet",):
            channels = ", ".join(checkpoint.config.channels)
            raise UserError(
                f"{path}: the network takes {len(checkpoint.config.channels)} channels ({channels}), expected one: pet"
            )
        engines.append(TorchEngine(checkpoint, device=where, precision=resolve_precision(precision, where)))
    if not engines:
        raise UserError("no weights given, expected at least one checkpoint or folder of checkpoints")
    return engines


def warm_up(networks: Sequence[Engine], *, window_batch: int | None = None) -> None:
    """Run one call of windows through each network, so that the first scan does not wait for what libraries prepare.

    Raises
    ------
    UserError
        As `segment`.
    """
    for network in networks:
        x, y, z = network.config.window
        image = (x * (window_batch or network.default_batch), y, z)
        plan = plan_windows(image, window=network.config.window, overlap=0.0)
        infer(torch.zeros((1, *image), device=network.device), plan, network, batch=window_batch)


def segment(
    pet: Volume,
    networks: Sequence[Engine],
    *,
    full_grid: bool = False,
    overlap: float = OVERLAP,
    window_batch: int | None = None,
    vote: bool = False,
    min_lesion_ml: float = 0.0,
    progress: Progress | None = None,
) -> Segmentation:
    """Find the lesions in a scan.

    Parameters
    ----------
    pet
        SUV, float32 [Z, Y, X], of any geometry.
    networks
        From `load_networks`; all on one device.
    full_grid
        Cover the whole volume with windows, as the recipe does, instead of the body. Without it a scan whose voxels
        are all the same, in which there is nothing to see, is given an empty mask at once.
    overlap
        Share of a window's side that neighbours have in common.
    window_batch
        Windows at a time; None leaves it to the engine.
    vote
        Combine an ensemble by majority vote instead of the mean of probabilities.
    min_lesion_ml
        Clear connected components smaller than this.
    progress
        Called with the windows done and the windows planned.

    Returns
    -------
    Segmentation
        The mask on the scan's grid.

    Raises
    ------
    UserError
        If the overlap is out of range or memory runs out.
    """
    device = networks[0].device
    clock = Stopwatch(device)
    with clock.stage("prepare"):
        scans = {p: _prepare(pet, p, device, full_grid=full_grid) for p in {n.config.preprocessing for n in networks}}
        plans = [_plan(scans[n.config.preprocessing], n.config.window, overlap) for n in networks]
        if not full_grid and pet.array_zyx.min() == pet.array_zyx.max():
            plans = [replace(plan, starts=()) for plan in plans]
        full = [_plan(scans[n.config.preprocessing], n.config.window, overlap, everywhere=True) for n in networks]
    opinion = hard_vote if vote or len(networks) == 1 else probability
    total = torch.zeros(pet.array_zyx.shape, dtype=opinion(torch.zeros(1)).dtype, device=device)
    windows, done = sum(len(plan.starts) for plan in plans), 0
    for network, plan in zip(networks, plans, strict=True):
        scan = scans[network.config.preprocessing]
        with clock.stage("network"):
            report = None if progress is None else lambda count, before=done: progress(before + count, windows)
            logits = infer(scan.image[None], plan, network, batch=window_batch, progress=report)
            done += len(plan.starts)
        with clock.stage("restore"):
            on_file, box = restore(logits, plan.image_box, scan.placement)
            x, y, z = box.slices
            total[z, y, x] += opinion(on_file).to(device)
    with clock.stage("restore"):
        lesions = consensus(total, len(networks))
        if min_lesion_ml > 0:
            lesions = remove_small_components(lesions, min_voxels=min_lesion_ml / pet.geometry.voxel_ml)
        mask = lesions.to(torch.uint8).cpu().numpy()
    voxels = int(np.count_nonzero(mask))
    return Segmentation(
        mask=Volume(mask, pet.geometry),
        lesion_voxels=voxels,
        lesion_ml=voxels * pet.geometry.voxel_ml,
        windows=windows,
        windows_full_grid=sum(len(plan.starts) for plan in full),
        seconds=clock.seconds,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan as a network wants it: [X, Y, Z] in [0, 1], and where it lies."""

    image: Tensor
    placement: Placement
    body: Body | None


def _prepare(pet: Volume, preprocessing: Preprocessing, device: torch.device, *, full_grid: bool) -> _Scan:
    placement = place(pet.geometry, preprocessing.spacing_mm)
    suv = to_network_grid(pet, placement, device)
    body = None if full_grid else find_body(suv, preprocessing.spacing_mm)
    return _Scan(scale_intensity(suv, preprocessing.intensity), placement, body)


def _plan(scan: _Scan, window: tuple[int, int, int], overlap: float, *, everywhere: bool = False) -> WindowPlan:
    shape = scan.placement.network_shape
    return plan_windows(shape, window=window, overlap=overlap, body=None if everywhere else scan.body)
