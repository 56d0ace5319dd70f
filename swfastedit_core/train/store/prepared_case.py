"""A prepared case: a folder on disk, from which crops are read.

The folder is complete or does not exist. It holds:

- ``image.b2nd``, float16 [C, X, Y, Z], and ``label.b2nd``, uint8 [X, Y, Z]: see `blosc_file`;
- ``points.npy``, int32 [n, 3]: voxels of the patient, then those of each lesion's sample;
- ``case.json``: the rest, with the SHA-256 of the files above and of itself.

In memory a case is the content of ``case.json``, some kilobytes. Files are opened for each read and closed after it, so
neither memory nor open files grow with the data set.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.box import Box, Triple
from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import UserError
from swfastedit_core.train.store.blosc_file import read_part

IMAGE, LABEL, POINTS, RECORD = "image.b2nd", "label.b2nd", "points.npy", "case.json"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of an array in a .npy file."""

    file: Path
    start: int
    stop: int

    def load(self) -> np.ndarray:
        """Return the rows, mapped from disk: only accessed rows are read, and none stay in memory."""
        try:
            return np.asarray(np.load(self.file, mmap_mode="r")[self.start : self.stop])
        except (OSError, ValueError) as error:
            raise _damaged(self.file.parent, error) from error


@dataclass(frozen=True, eq=False, slots=True)
class Component:
    """One 18-connected lesion on the network's grid.

    Attributes
    ----------
    box
        Box around the lesion.
    voxels
        Number of its voxels.
    rows
        Rows of its sample in the points file.
    """

    box: Box
    voxels: int
    rows: Rows

    @property
    def sample(self) -> np.ndarray:
        """A uniform sample of at most 512 of its voxels: int32 [n, 3], mapped from disk."""
        return self.rows.load()


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case on the network's grid, on disk. The object is small and can be sent to another process.

    Attributes
    ----------
    name, patient, group
        `case`, `patient` and `group` of the source.
    shape
        Voxels [X, Y, Z] along R, A, S at the network's spacing.
    channels
        Of the network.
    suv_scale
        The SUV that become 0 and 1 in the network's input.
    components
        The lesions.
    folder
        Folder of the case.
    in_patient
        Rows of `body` in the points file.
    """

    name: str
    patient: str
    group: str
    shape: Triple
    channels: Channels
    suv_scale: tuple[float, float]
    components: tuple[Component, ...]
    folder: Path
    in_patient: Rows

    @property
    def body(self) -> np.ndarray:
        """Voxels spread evenly over the patient, at least one: int32 [n, 3], mapped from disk."""
        return self.in_patient.load()

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Read a crop, in one thread.

        Parameters
        ----------
        box
            Inside the volume.

        Returns
        -------
        image : ndarray
            float32 [C, X, Y, Z] in SUV and HU.
        label : ndarray
            uint8 [X, Y, Z]: 1 in lesions.

        Raises
        ------
        UserError
            If the files are gone or damaged.
        ValueError
            If the box is empty or reaches beyond the volume.
        """
        if not all(0 <= a < b <= side for a, b, side in zip(box.start, box.stop, self.shape, strict=True)):
            raise ValueError(f"{box}, expected one within {self.shape}")
        try:
            image = read_part(self.folder / IMAGE, (slice(None), *box.slices))
            label = read_part(self.folder / LABEL, box.slices)
        except OSError as error:
            raise _damaged(self.folder, error) from error
        return image.astype(np.float32), label


def open_case(folder: Path, *, name: str, patient: str, group: str) -> PreparedCase:
    """Open a case.

    Parameters
    ----------
    folder
        Folder of the case.
    name, patient, group
        As in `PreparedCase`.

    Raises
    ------
    UserError
        If there is no case, or its record is damaged. Its other files are checked when they are read.
    """
    record = read_record(folder)
    if record is None:
        raise _damaged(folder, ValueError(f"no {RECORD}, or a damaged one"))
    row = record["in_patient"]
    in_patient, components = Rows(folder / POINTS, 0, row), []
    for x0, y0, z0, x1, y1, z1, voxels, sampled in record["lesions"]:
        rows = Rows(in_patient.file, row, row + sampled)
        components.append(Component(Box((x0, y0, z0), (x1, y1, z1)), voxels, rows))
        row += sampled
    x, y, z = record["shape"]
    low, high = record["suv_scale"]
    return PreparedCase(
        name,
        patient,
        group,
        shape=(x, y, z),
        channels=Channels.named(record["channels"]),
        suv_scale=(low, high),
        components=tuple(components),
        folder=folder,
        in_patient=in_patient,
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the content of ``case.json``; None where it is missing or damaged."""
    try:
        outer = json.loads((folder / RECORD).read_bytes())
        intact = sha256(outer["case"].encode()) == outer["sha256"]
        return json.loads(outer["case"]) if intact else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"{folder}: the prepared case cannot be read ({' '.join(str(error).split())}); remove this folder and start "
        "again; the case is then prepared again"
    )
