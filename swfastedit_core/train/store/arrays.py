"""The arrays of a prepared case, and the key that changes with everything they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swfastedit_core import phantom
from swfastedit_core.body import find_body, mean_cells
from swfastedit_core.checkpoint import Channels
from swfastedit_core.intensity import intensity_limits
from swfastedit_core.preprocess import Preprocessing, place, to_network_grid
from swfastedit_core.train.data.labels import label_on_grid
from swfastedit_core.train.data.sources import Scan, Source

FORMAT = 1  # grows when the same files give other arrays, or arrays are written differently
MAX_IN_BODY = 20_000  # voxels
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Arrays:
    """A case on the network's grid, in memory.

    Attributes
    ----------
    image
        float16 [C, X, Y, Z] along R, A, S: SUV, and HU.
    label
        uint8 [X, Y, Z]: 1 in lesions.
    suv_scale
        The SUV that become 0 and 1 in the network's input.
    body
        int32 [n, 3]: up to 20,000 voxels spread evenly over the patient; the middle of the volume where there is none.
    """

    image: np.ndarray
    label: np.ndarray
    suv_scale: tuple[float, float]
    body: np.ndarray


def arrays_of(scan: Scan, preprocessing: Preprocessing, channels: Channels) -> Arrays:
    """Bring a scan to the network's grid, as inference does.

    Parameters
    ----------
    scan
        With a CT if the channels take one.
    preprocessing
        Of the network.
    channels
        Of the network; without clicks.

    Raises
    ------
    UserError
        If the scan would be too large at the network's spacing.
    """
    placement = place(scan.pet.geometry, preprocessing.spacing_mm)
    suv = to_network_grid(scan.pet, placement, CPU)
    image = np.empty((channels.count, *placement.network_shape), np.float16)
    image[0] = _in_range(suv)
    if channels.takes_ct:
        assert scan.ct is not None
        image[1] = _in_range(to_network_grid(scan.ct, placement, CPU))
    scale = intensity_limits(suv, preprocessing.intensity)
    return Arrays(image, label_on_grid(scan.label, placement), scale, _body(suv, preprocessing.spacing_mm))


def files_of(source: Source, channels: Channels) -> dict[str, Path]:
    """Return the files of a case by their role; none for a phantom."""
    wanted = {"pet": source.pet, "label": source.label, "ct": source.ct if channels.takes_ct else None}
    return {name: path for name, path in wanted.items() if path}


def key_of(
    source: Source,
    preprocessing: Preprocessing,
    channels: Channels,
    *,
    digest_of: Callable[[Path], str | None],
) -> str | None:
    """Return 64 hexadecimal digits that change with everything that changes the arrays of a case.

    Parameters
    ----------
    source
        The case. Name, patient and group have no influence.
    preprocessing, channels
        Of the network.
    digest_of
        Returns the SHA-256 of a file; None where it is not known.

    Returns
    -------
    str or None
        None where the digest of a file is not known.
    """
    digests = {name: digest_of(path) for name, path in files_of(source, channels).items()}
    if None in digests.values():
        return None
    depends_on = {
        "format": FORMAT,
        "files": digests,
        "lesion_labels": sorted(set(source.lesion_labels)),
        "label_grid": source.label_grid,
        "phantom": None if source.phantom_seed is None else [source.phantom_seed, _phantom_version()],
        "preprocessing": asdict(preprocessing),
        "channels": channels.names,
        **({} if source.form == "auto" else {"form": source.form}),
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


@cache
def _phantom_version() -> str:
    """Return a digest of the code that makes phantoms; a version number could be forgotten."""
    modules = sorted(
        (file for file in files(phantom).iterdir() if file.name.endswith(".py")), key=lambda file: file.name
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in modules)).hexdigest()


def _in_range(values: Tensor) -> np.ndarray:
    """Clip values to the range of float16."""
    largest = float(np.finfo(np.float16).max)
    return values.clamp(-largest, largest).numpy()


def _body(suv: Tensor, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    body = find_body(mean_cells(suv, spacing_mm))
    if body is None:
        return np.array([[side // 2 for side in suv.shape]], np.int32)
    cells = np.argwhere(body.cells)
    count = min(len(cells), MAX_IN_BODY)
    middles = cells[np.arange(count) * len(cells) // count] * body.cell + np.array(body.cell) // 2
    within: np.ndarray = np.minimum(middles, np.array(suv.shape) - 1).astype(np.int32)
    return within
