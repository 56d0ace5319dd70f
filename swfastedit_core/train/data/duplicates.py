"""Scans with the same voxels under different names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.labels.axes import find_turn, turn_array
from swfastedit_core.train.data.findings import Finding
from swfastedit_core.train.data.sources import Source
from swfastedit_core.volume import Volume

DIGITS = 32  # of a digest: 128 bits


def digest_of(scan: Volume) -> str:
    """Return hexadecimal digits that are the same for the same voxels, whatever the file format.

    The array's axes are brought to the patient's, so that the order in the file does not count. Header and position do
    not count either.
    """
    turn = find_turn(scan.geometry)
    array = np.ascontiguousarray(scan.array_zyx) if turn is None else turn_array(scan.array_zyx, turn)
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(array.astype("<f4", copy=False).data)
    return digest.hexdigest()[:DIGITS]


def remark_duplicates(findings: Sequence[Finding]) -> list[Finding]:
    """Add a remark to each case whose scan has the same voxels as an earlier one."""
    first: dict[str, Finding] = {}
    remarked = []
    for finding in findings:
        earlier = first.setdefault(finding.content, finding) if finding.content else finding
        if earlier is not finding:
            patients = "" if earlier.patient == finding.patient else ", and they count as different patients"
            text = f"the scan has the same voxels as {earlier.case} in {earlier.group}{patients}"
            finding = replace(finding, remark="; ".join(filter(None, (finding.remark, text))))
        remarked.append(finding)
    return remarked


def require_apart(
    training: Sequence[Source], held_out: Sequence[Source], findings: Mapping[Source, Finding], *, where: str
) -> None:
    """Refuse a split with the same scan in both sets: the score on it would be that of a scan seen in training.

    Parameters
    ----------
    training, held_out
        The usable cases of both sets.
    findings
        The finding of each.
    where
        Name of the split, for the message.

    Raises
    ------
    UserError
        If a scan of the validation set has the same voxels as one of the training set.
    """
    learned = {findings[source].content: source for source in reversed(training)}
    learned.pop("", None)
    pairs = [(learned[content], source) for source in held_out if (content := findings[source].content) in learned]
    if pairs:
        one, other = pairs[0]
        more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
        raise UserError(
            f"{where}: the same voxels are in both sets: {one.case} of patient {one.patient} in the training set, "
            f"{other.case} of patient {other.patient} in the validation set{more}; remove one of the two, or put them "
            "in one set with --patient or --split"
        )
