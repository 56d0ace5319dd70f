"""What each network is given of a scan: its windows and its guidance; warnings about what it does not use."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from swfastedit_core.body import find_body
from swfastedit_core.box import Box
from swfastedit_core.clicks import FileVoxels
from swfastedit_core.engine import Engine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import DataWarning
from swfastedit_core.guidance import Guidance, network_voxels, on_network_grid, paint_guidance
from swfastedit_core.network_input import NetworkInput, check_ct_cover
from swfastedit_core.preprocess import Placement, Preprocessing
from swfastedit_core.system.stopwatch import timed
from swfastedit_core.volume import Geometry
from swfastedit_core.windows import WindowPlan, plan_windows

OVERLAP = 0.75  # the recipe's
SINGLE_VOXEL = 2.0  # voxels of the file; a smaller hot spot is a single voxel, whose peak interpolation may lower
SHOWN = 3  # number of clicks that a warning names


@timed("plan")
def plan(prepared: NetworkInput, network: Engine, *, overlap: float = OVERLAP, full_grid: bool = False) -> WindowPlan:
    """Plan a network's windows over the body; without a body over the whole volume. A uniform scan gets none.

    Raises
    ------
    UserError
        If the overlap is out of range.

    Warns
    -----
    DataWarning
        If single voxels are hot apart from the body.
    """
    if full_grid:
        return full_grid_plan(prepared, network, overlap=overlap)
    shape, window, body = prepared.placement.network_shape, network.config.window, find_body(prepared.cells)
    windows = plan_windows(shape, window=window, overlap=overlap, body=body)
    if prepared.uniform:
        return WindowPlan(shape, window, ())
    if body is not None and (single := sum(ml < SINGLE_VOXEL * prepared.voxel_ml for ml in body.spots_ml)):
        _warn(f"{single} single hot voxel(s) lie apart from the body; are they noise?")
    return windows


def guidance_for(network: Engine, placement: Placement, clicked: FileVoxels) -> Guidance | None:
    """Paint clicks for a network; None if it takes none.

    Parameters
    ----------
    network
        With its encoding of clicks.
    placement
        Of its grid on the file's.
    clicked
        Voxels of the file, from `clicks.file_voxels`.
    """
    encoding = network.config.clicks
    if encoding is None:
        return None
    return paint_guidance(network_voxels(clicked, placement), placement.network_shape, encoding)


def full_grid_plan(prepared: NetworkInput, network: Engine, *, overlap: float = OVERLAP) -> WindowPlan:
    """Plan the recipe's windows, over the whole volume."""
    return plan_windows(prepared.placement.network_shape, window=network.config.window, overlap=overlap)


def clicks_outside(clicked: FileVoxels, windows: Iterable[Box], placement: Placement) -> FileVoxels:
    """Return the clicks whose voxel on the network's grid lies in no window.

    Parameters
    ----------
    clicked
        Voxels of the file, from `clicks.file_voxels`.
    windows
        Voxels of each window.
    placement
        Of the network's grid on the file's.
    """
    boxes = list(windows)
    outside = {}
    for kind, voxels in clicked.items():
        held = np.zeros(len(voxels), bool)
        on_grid = on_network_grid(voxels, placement)
        for box in boxes if len(voxels) else ():
            held |= within(on_grid, box)
        outside[kind] = voxels[~held]
    return outside


def within(voxels: np.ndarray, box: Box) -> np.ndarray:
    """Return which voxels, [N, 3], lie in a box, bool [N]."""
    inside: np.ndarray = np.all((voxels >= box.start) & (voxels < box.stop), axis=1)
    return inside


def warn_of_missing_ct(
    inputs: Mapping[Preprocessing, NetworkInput], networks: Ensemble, grid: Geometry, ct_grid: Geometry | None
) -> None:
    """Warn if networks take a CT and it covers too little of the body.

    Parameters
    ----------
    inputs
        From `network_input.prepare`.
    networks
        The ensemble.
    grid, ct_grid
        Of the PET's file and of the CT's, before it was resampled; None: there is no CT.
    """
    if networks.ct_network is not None and ct_grid is not None:
        check_ct_cover(inputs[networks.ct_network.config.preprocessing], grid, ct_grid)


def warn_of_unused_clicks(clicked: FileVoxels, networks: Ensemble) -> None:
    """Warn if there are clicks and some networks take none."""
    automatic = [network.source for network in networks if not network.config.channels.takes_clicks]
    if automatic and any(map(len, clicked.values())):
        _warn(f"clicks are not used by {len(automatic)} of {len(networks)} network(s): {', '.join(automatic)}")


def warn_of_clicks_outside(outside: Iterable[FileVoxels]) -> None:
    """Warn of clicks that lie outside the windows of a network.

    Parameters
    ----------
    outside
        From `clicks_outside`, for each network that takes clicks.
    """
    lost: dict[str, None] = {}
    for of_network in outside:
        for kind, voxels in of_network.items():
            lost |= dict.fromkeys(f"{kind.name.lower()} at voxel {tuple(voxel)}" for voxel in voxels.tolist())
    if lost:
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        _warn(
            f"{len(lost)} click(s) lie outside the windows, which cover the body, and have hardly any effect: "
            f"{'; '.join(list(lost)[:SHOWN])}{more}; to cover the whole volume, use --region full (full_grid=True)"
        )


def _warn(message: str) -> None:
    warnings.warn(DataWarning(message), stacklevel=3)
