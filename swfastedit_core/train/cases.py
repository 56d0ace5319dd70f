"""Training cases: scans and labels on the network's grid, kept on disk, read a crop at a time."""

from __future__ import annotations

import json
import multiprocessing
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from swfastedit_core.atomic import replacing
from swfastedit_core.errors import UserError
from swfastedit_core.phantom import make_phantom
from swfastedit_core.preprocess import Preprocessing, place, scale_intensity, to_network_grid
from swfastedit_core.volume import Geometry, Volume, read_volume, suffix_of
from swfastedit_core.windows import find_body

SEEDS_PER_SET = 100_000  # as in the phantom command: case i of seed s is the patient s * 100,000 + i
LABEL_THRESHOLD = 0.5
SAME_GRID_MM = 1e-2


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """A case on the network's grid.

    Attributes
    ----------
    name
        Of the scan.
    image
        Network input in [0, 1], float16 [X, Y, Z] along R, A, S, mapped from disk.
    label
        uint8, same shape: 1 in lesions.
    foreground
        Flat indices of the label's voxels.
    patient
        int [N, 3], voxels spread evenly over the patient; the middle of the volume where none is found.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    foreground: np.ndarray
    patient: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a case comes from.

    Attributes
    ----------
    case
        What it is called.
    name
        Of the prepared files; changes when the case's own files do.
    read
        Reads scan and label.
    """

    case: str
    name: str
    read: Callable[[], tuple[Volume, Volume]]


def phantom_sources(*, seed: int, first: int, count: int) -> list[Source]:
    """List the phantoms `first` to `first + count` of a seed, the ones the phantom command would write."""
    return [
        Source(
            f"phantom_{seed}_{case:04d}",
            f"phantom_{seed}_{case:04d}",
            partial(_read_phantom, seed * SEEDS_PER_SET + case),
        )
        for case in range(first, first + count)
    ]


def folder_sources(folder: Path) -> list[Source]:
    """List the pairs of ``imagesTr/`` and ``labelsTr/``: files of the same name.

    Raises
    ------
    UserError
        If the folders are missing, hold no pair, or a scan has no label.
    """
    images, labels = folder / "imagesTr", folder / "labelsTr"
    if not images.is_dir() or not labels.is_dir():
        raise UserError(f"{folder}: expected the folders imagesTr and labelsTr in it")
    scans = sorted(path for path in images.iterdir() if suffix_of(path) and not path.name.startswith("."))
    unlabelled = [path.name for path in scans if not (labels / path.name).is_file()]
    if not scans or unlabelled:
        raise UserError(
            f"{folder}: {len(scans)} scans, without a label of the same name: {', '.join(unlabelled[:3]) or 'none'}"
        )
    pairs = [(path, labels / path.name) for path in scans]
    return [
        Source(scan.name, f"{scan.name}.{_state(scan, label)}", partial(_read_pair, scan, label))
        for scan, label in pairs
    ]


def prepare_cases(
    sources: list[Source], store: Path, preprocessing: Preprocessing, *, workers: int
) -> Iterator[TrainingCase]:
    """Bring cases to the network's grid and yield them in the sources' order.

    What was prepared before with the same preprocessing is used again.

    Raises
    ------
    UserError
        If a case cannot be read, or the store was made with another preprocessing.
    """
    store.mkdir(parents=True, exist_ok=True)
    made_with = store / "preprocessing.json"
    wanted = json.dumps(asdict(preprocessing))
    if made_with.is_file() and made_with.read_text() != wanted:
        raise UserError(f"{store}: prepared with {made_with.read_text()}, now {wanted}; use another --run")
    made_with.write_text(wanted)
    # Spawned, not forked: a fork of a process in which torch has threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        files_of = pool.map(partial(_prepared, store=store, preprocessing=preprocessing), sources)
        for source, files in zip(sources, files_of, strict=True):
            yield open_case(source.name, *files, spacing_mm=preprocessing.spacing_mm)


def _prepared(source: Source, *, store: Path, preprocessing: Preprocessing) -> tuple[Path, Path]:
    image_file, label_file = store / f"{source.name}.image.npy", store / f"{source.name}.label.npy"
    torch.set_num_threads(1)
    if not (image_file.is_file() and label_file.is_file()):
        scan, lesions = source.read()
        placement = place(scan.geometry, preprocessing.spacing_mm)
        suv = to_network_grid(scan, placement, torch.device("cpu"))
        label = to_network_grid(lesions, placement, torch.device("cpu")) >= LABEL_THRESHOLD
        _save(label_file, label.numpy().astype(np.uint8))
        _save(image_file, scale_intensity(suv, preprocessing.intensity).numpy().astype(np.float16))
    return image_file, label_file


def open_case(name: str, image_file: Path, label_file: Path, *, spacing_mm: tuple[float, float, float]) -> TrainingCase:
    """Map a prepared case from disk."""
    image, label = np.load(image_file, mmap_mode="r"), np.load(label_file, mmap_mode="r")
    body = find_body(torch.from_numpy(image.astype(np.float32)), spacing_mm)
    if body is None:
        patient = np.array([[side // 2 for side in image.shape]])
    else:
        patient = np.argwhere(body.cells) * body.cell + np.array(body.cell) // 2
    return TrainingCase(name, image, label, np.flatnonzero(label), np.minimum(patient, np.array(image.shape) - 1))


def _save(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.save(temporary, array)


def _state(*paths: Path) -> str:
    """Return eight digits that change with the files' sizes and times."""
    return f"{zlib.crc32(repr([(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]).encode()):08x}"


def _read_phantom(seed: int) -> tuple[Volume, Volume]:
    phantom = make_phantom(seed)
    return phantom.pet, phantom.label


def _read_pair(scan_file: Path, label_file: Path) -> tuple[Volume, Volume]:
    scan, label = read_volume(scan_file), read_volume(label_file)
    a, b = scan.geometry, label.geometry
    same = a.size_xyz == b.size_xyz and all(
        np.allclose(x, y, atol=SAME_GRID_MM)
        for x, y in ((a.spacing_mm, b.spacing_mm), (a.origin_mm, b.origin_mm), (a.direction, b.direction))
    )
    if not same:
        raise UserError(f"{label_file}: the label's grid, {_in_words(b)}, is not that of the scan, {_in_words(a)}")
    return scan, Volume((label.array_zyx > 0).astype(np.float32), b)


def _in_words(grid: Geometry) -> str:
    """Describe a grid as far as people compare grids by eye."""
    size, spacing = "×".join(map(str, grid.size_xyz)), "×".join(f"{mm:.4g}" for mm in grid.spacing_mm)
    origin, axes = (
        ", ".join(f"{mm:.2f}" for mm in grid.origin_mm),
        ", ".join(f"{cosine:.3g}" for cosine in grid.direction),
    )
    return f"{size} voxels of {spacing} mm from ({origin}) along ({axes})"
