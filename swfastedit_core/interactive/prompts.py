"""Prompts: groups of clicks that are added and taken back together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from swfastedit_core.clicks import ClickKind, FileVoxels


def merged(prompts: Iterable[FileVoxels]) -> FileVoxels:
    """Return the clicks of all prompts, each once, in the order in which they came first.

    Parameters
    ----------
    prompts
        From `clicks.file_voxels`; may be none.

    Returns
    -------
    dict
        For each kind, int64 [N, 3].
    """
    given = list(prompts)
    return {kind: _unique(np.concatenate([_NONE, *(prompt[kind] for prompt in given)])) for kind in ClickKind}


def differences(one: FileVoxels, other: FileVoxels) -> FileVoxels:
    """Return the clicks that only one of two has; each of the two holds no click twice."""
    different = {}
    for kind in ClickKind:
        voxels, counts = np.unique(np.concatenate([one[kind], other[kind]]), axis=0, return_counts=True)
        different[kind] = voxels[counts == 1]
    return different


def _unique(voxels: np.ndarray) -> np.ndarray:
    _, first = np.unique(voxels, axis=0, return_index=True)
    return voxels[np.sort(first)]


_NONE = np.empty((0, 3), np.int64)
