"""The whole way of one scan: prepare, plan, infer, restore, combine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.checkpoint import find_checkpoints, read_checkpoint
from swfastedit_core.components import remove_small_components
from swfastedit_core.engine import Engine, make_engine, resolve_device
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import infer
from swfastedit_core.intensity import scale_hu, scale_intensity
from swfastedit_core.postprocess import consensus, hard_vote, probability
from swfastedit_core.preprocess import Placement, Preprocessing, place, restore_slabs, to_network_grid
from swfastedit_core.resample import resample_ct
from swfastedit_core.system.clock import Stopwatch
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
        Wall time by stage: prepare, plan, compile (what was left to wait for), network, restore.
    """

    mask: Volume
    lesion_voxels: int
    lesion_ml: float
    windows: int
    windows_full_grid: int
    seconds: dict[str, float]


def load_networks(
    *paths: str | Path,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    window_batch: int | None = None,
) -> list[Engine]:
    """Load weights and begin to make them ready to run, in the background. Several are an ensemble.

    Parameters
    ----------
    *paths
        Checkpoint files (``.safetensors``, or the authors' ``.pt``), or folders of them.
    device
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    backend
        ``auto``, ``openvino`` or ``torch``, see `engine.make_engine`.
    window_batch
        Windows at a time; None leaves it to the engine.

    Raises
    ------
    UserError
        If weights, device, precision or backend are not what they should be.
    """
    where = resolve_device(device)
    engines: list[Engine] = []
    for path in find_checkpoints(paths):
        checkpoint = read_checkpoint(path)
        channels = checkpoint.config.channels
        if channels.takes_clicks:
            raise UserError(
                f"{path}: the network takes {channels.count} channels ({', '.join(channels.names)}), "
                "expected one: pet, or two: pet and ct"
            )
        engines.append(make_engine(checkpoint, device=where, precision=precision, backend=backend, batch=window_batch))
    if not engines:
        raise UserError("no weights given, expected at least one checkpoint or folder of checkpoints")
    return engines


def warm_up(networks: Sequence[Engine]) -> None:
    """Run a few windows through each network, so that the first scan does not wait for what libraries prepare.

    Raises
    ------
    UserError
        As `segment`.
    """
    for network in networks:
        x, y, z = network.config.window
        shape = (x * network.batch, y, z)
        plan = plan_windows(shape, window=network.config.window, overlap=0.0)
        image = torch.zeros((network.config.channels.count, *shape), device=network.device)
        infer(image, plan, network)


def segment(
    pet: Volume,
    networks: Sequence[Engine],
    *,
    ct: Volume | None = None,
    full_grid: bool = False,
    overlap: float = OVERLAP,
    vote: bool = False,
    min_lesion_ml: float = 0.0,
    progress: Progress | None = None,
) -> Segmentation:
    """Find the lesions in a scan.

    Voxels of PET and CT are let go of as soon as the networks' input is made of them: where nobody else holds them,
    they take no memory while the networks run.

    Parameters
    ----------
    pet
        SUV, float32 [Z, Y, X], of any geometry.
    networks
        From `load_networks`; all on one device. Those that see PET only and those that see CT as well may be mixed.
    ct
        HU, [Z, Y, X], of any geometry: it is brought to the PET's grid by patient coordinates. Needed where a network
        has it among its channels, else not looked at.
    full_grid
        Cover the whole volume with windows, as the recipe does, instead of the body. Without it a scan whose voxels
        are all the same, in which there is nothing to see, is given an empty mask at once.
    overlap
        Share of a window's side that neighbours have in common.
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
        If a network needs a CT and there is none, or it shows another part of the patient; if the overlap is out of
        range or memory runs out.
    """
    device, grid = networks[0].device, pet.geometry
    clock = Stopwatch(device)
    with clock.stage("prepare"):
        with_ct = _require_ct(networks, ct)
        ct = resample_ct(ct, grid) if ct and with_ct else None
        scans = {
            p: _prepare(pet, ct if p in with_ct else None, p, device, full_grid=full_grid)
            for p in {n.config.preprocessing for n in networks}
        }
        flat = bool(pet.array_zyx.min() == pet.array_zyx.max())
        del pet, ct
    with clock.stage("plan"):
        plans = [_plan(scans[n.config.preprocessing], n.config.window, overlap) for n in networks]
        if flat and not full_grid:
            plans = [replace(plan, starts=()) for plan in plans]
        full = [_plan(scans[n.config.preprocessing], n.config.window, overlap, everywhere=True) for n in networks]
    with clock.stage("compile"):  # begun when the networks were loaded
        for network in networks:
            network.wait()
    opinion = hard_vote if vote or len(networks) == 1 else probability
    total = torch.zeros(grid.shape_zyx, dtype=opinion(torch.zeros(1)).dtype, device=device)
    windows, done = sum(len(plan.starts) for plan in plans), 0
    for network, plan in zip(networks, plans, strict=True):
        scan = scans[network.config.preprocessing]
        with clock.stage("network"):
            report = None if progress is None else lambda count, before=done: progress(before + count, windows)
            image = scan.image[: network.config.channels.image_channels]  # PET comes first
            logits = infer(image, plan, network, progress=report)
            done += len(plan.starts)
        with clock.stage("restore"):
            for on_file, box in restore_slabs(logits, plan.image_box, scan.placement):
                x, y, z = box.slices
                total[z, y, x] += opinion(on_file).to(device)
            del logits
    with clock.stage("restore"):
        lesions = consensus(total, len(networks))
        if min_lesion_ml > 0:
            lesions = remove_small_components(lesions, min_voxels=min_lesion_ml / grid.voxel_ml)
        mask = lesions.view(torch.uint8).cpu().numpy()  # the same bytes
    voxels = int(np.count_nonzero(mask))
    return Segmentation(
        mask=Volume(mask, grid),
        lesion_voxels=voxels,
        lesion_ml=voxels * grid.voxel_ml,
        windows=windows,
        windows_full_grid=sum(len(plan.starts) for plan in full),
        seconds=clock.seconds,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan as networks want it, and where it lies.

    Attributes
    ----------
    image
        float32 [1, X, Y, Z] in [0, 1], the PET; with a CT [2, X, Y, Z].
    """

    image: Tensor
    placement: Placement
    body: Body | None


def _require_ct(networks: Sequence[Engine], ct: Volume | None) -> set[Preprocessing]:
    """Return the preprocessing of the networks that see CT; refuse to go on without one where they need it."""
    takers = [network for network in networks if network.config.channels.takes_ct]
    if takers and ct is None:
        raise UserError(f"{takers[0].source}: the network takes PET and CT, and no CT was given; pass it as ct=")
    return {network.config.preprocessing for network in takers}


def _prepare(
    pet: Volume, ct: Volume | None, preprocessing: Preprocessing, device: torch.device, *, full_grid: bool
) -> _Scan:
    """Bring a PET, and a CT on the same grid, to a network's grid and intensities."""
    placement = place(pet.geometry, preprocessing.spacing_mm)
    suv = to_network_grid(pet, placement, device)
    body = None if full_grid else find_body(suv, preprocessing.spacing_mm)
    scaled = scale_intensity(suv, preprocessing.intensity)
    if ct is None:
        return _Scan(scaled[None], placement, body)
    del suv  # here and below: the memory is wanted for the CT
    image = torch.empty((2, *placement.network_shape), device=device)
    image[0] = scaled
    del scaled
    image[1] = scale_hu(to_network_grid(ct, placement, device), preprocessing.ct_hu)
    return _Scan(image, placement, body)


def _plan(scan: _Scan, window: tuple[int, int, int], overlap: float, *, everywhere: bool = False) -> WindowPlan:
    shape = scan.placement.network_shape
    return plan_windows(shape, window=window, overlap=overlap, body=None if everywhere else scan.body)
