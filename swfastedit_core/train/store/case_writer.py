"""Write and remove prepared cases, and check that one is undamaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import UserError
from swfastedit_core.train.data.labels import find_lesions
from swfastedit_core.train.store.arrays import Arrays
from swfastedit_core.train.store.atomic_folder import put_folder, remove_folder
from swfastedit_core.train.store.blosc_file import pack
from swfastedit_core.train.store.prepared_case import IMAGE, LABEL, POINTS, RECORD, read_record, sha256

MAX_SAMPLED = 512  # voxels of a lesion


def write_case(folder: Path, arrays: Arrays, *, key: str, name: str, channels: Channels) -> None:
    """Write a case; an existing one is not changed.

    Parameters
    ----------
    folder
        Folder of the case.
    arrays
        Content of the case.
    key
        Digest of the content, in hexadecimal digits. It also seeds the samples of the lesions.
    name
        Name of the case, for people who look into the folder.
    channels
        Channels of the image.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    rng = np.random.default_rng(int(key, 16))
    points, lesions = [arrays.body], []
    for box, voxels in find_lesions(arrays.label):
        sample = np.sort(rng.permutation(len(voxels))[:MAX_SAMPLED])
        points.append(voxels[sample])
        lesions.append([*box.start, *box.stop, len(voxels), len(sample)])
    table = BytesIO()
    np.save(table, np.concatenate(points))
    files = {IMAGE: pack(arrays.image), LABEL: pack(arrays.label), POINTS: table.getvalue()}
    record = {
        "key": key,
        "name": name,
        "shape": arrays.label.shape,
        "channels": channels.names,
        "suv_scale": arrays.suv_scale,
        "lesions": lesions,
        "in_patient": len(arrays.body),
        "files": {file: sha256(content) for file, content in files.items()},
    }
    text = json.dumps(record)
    files[RECORD] = json.dumps({"sha256": sha256(text.encode()), "case": text}).encode()
    try:
        put_folder(folder, files)
    except OSError as error:
        raise UserError(
            f"{folder}: the case {name} cannot be written ({error.strerror}); free some space or choose another folder"
        ) from error


def remove_case(folder: Path) -> None:
    """Remove a case if it exists, in any state.

    Raises
    ------
    UserError
        If it cannot be removed.
    """
    try:
        remove_folder(folder)
    except OSError as error:
        raise UserError(f"{folder}: is damaged and cannot be removed ({error.strerror}); remove it") from error


def is_whole(folder: Path, *, key: str, digest_of: Callable[[Path], str | None]) -> bool:
    """Whether a folder holds the case of this key, undamaged.

    Parameters
    ----------
    folder
        It may be missing.
    key
        Digest of the content, as for `write_case`.
    digest_of
        Returns the SHA-256 of a file; None where it is not known, and the case then counts as damaged.
    """
    record = read_record(folder)
    if record is None or record["key"] != key:
        return False
    return all((folder / file).is_file() and digest_of(folder / file) == sha for file, sha in record["files"].items())
