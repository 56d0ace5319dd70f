"""Findings of a survey: a table of them, and the cases that can be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from swfastedit_core.errors import UserError
from swfastedit_core.train.data.patients import shared_stems
from swfastedit_core.train.data.sources import Source

MAX_SPACINGS = 5  # of a group, in the table
MAX_REMARKS = 20
MAX_NAMED = 3  # problems in the error message


@dataclass(frozen=True)
class Finding:
    """The finding of a survey in one case.

    Attributes
    ----------
    case, group, patient
        As in its `Source`.
    size_xyz, spacing_mm
        The PET's grid; None where it could not be read, and for phantoms, which are not read.
    suv_max
        SUVmax of the PET.
    lesions, lesion_voxels, lesion_ml
        Number of 18-connected components of the label, their voxels and volume, on the PET's grid.
    label_values
        Values in the label's file except 0.
    absent_labels
        Lesion values that the command line names and this label does not have.
    content
        Digest of the PET's voxels, by which duplicates are found; empty where it could not be read.
    problem
        Why the case cannot be used, in one line; empty where it can.
    remark
        What the user should check, although the case can be used; one line or empty.
    """

    case: str
    group: str
    patient: str
    size_xyz: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    suv_max: float = 0.0
    lesions: int = 0
    lesion_voxels: int = 0
    lesion_ml: float = 0.0
    label_values: tuple[int, ...] = ()
    absent_labels: tuple[int, ...] = ()
    content: str = ""
    problem: str = ""
    remark: str = ""


def table(findings: Sequence[Finding]) -> str:
    """Return a table: a few lines for each group, then a line for each problem and each remark."""
    groups = dict.fromkeys(finding.group for finding in findings)
    lines = [line for group in groups for line in _summary([f for f in findings if f.group == group])]
    lines += [f"problem: {finding.case} in {finding.group}: {finding.problem}" for finding in _bad(findings)]
    remarks = [f"remark: {finding.case} in {finding.group}: {finding.remark}" for finding in findings if finding.remark]
    lines += remarks[:MAX_REMARKS]
    if len(remarks) > MAX_REMARKS:
        lines.append(f"remark: {len(remarks) - MAX_REMARKS} more cases with such remarks")
    return "\n".join(lines)


def usable(sources: Sequence[Source], findings: Sequence[Finding], *, skip: bool) -> list[Source]:
    """Return the cases without a problem.

    Parameters
    ----------
    sources, findings
        Arguments and result of `survey`.
    skip
        Leave bad cases out; otherwise a bad case is an error.

    Raises
    ------
    UserError
        If there are problems and `skip` is not set, or no case is left.
    """
    bad = _bad(findings)
    named = "; ".join(f"{finding.case}: {finding.problem}" for finding in bad[:MAX_NAMED])
    more = f"; and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
    if bad and not skip:
        raise UserError(
            f"{len(bad)} of {len(findings)} cases cannot be used; fix them, or leave them out with --skip-bad: "
            f"{named}{more}"
        )
    left = [source for source, finding in zip(sources, findings, strict=True) if not finding.problem]
    if not left:
        if not findings:
            raise UserError("no case: the data sets are empty")
        raise UserError(f"none of {len(findings)} cases can be used: {named}{more}")
    return left


def _summary(findings: Sequence[Finding]) -> list[str]:
    """Describe the cases of one group."""
    read = [finding for finding in findings if finding.size_xyz and not finding.problem]
    patients = len({finding.patient for finding in findings})
    lines = [f"{findings[0].group}", f"  cases         {len(findings):,} of {patients:,} patients"]
    if bad := _bad(findings):
        lines.append(f"  not usable    {len(bad):,}")
    elif not read:
        lines.append("  phantoms      generated during training, not surveyed")
    lines += [f"  remark        {text}" for text in _remarks_about_names(findings)]
    if not read:
        return lines
    sizes = sorted((finding.size_xyz or () for finding in read), key=math.prod)
    spacings = Counter("×".join(f"{mm:.4g}" for mm in finding.spacing_mm or ()) for finding in read).most_common()
    listed = ", ".join(f"{spacing} ({count:,})" for spacing, count in spacings[:MAX_SPACINGS])
    values = sorted({value for finding in read for value in finding.label_values})
    highest = [finding.suv_max for finding in read]
    volumes_ml = [finding.lesion_ml for finding in read if finding.lesions]
    lines += [
        f"  lesion-free   {len(read) - len(volumes_ml):,}",
        f"  voxels        {' to '.join('×'.join(map(str, size)) for size in dict.fromkeys((sizes[0], sizes[-1])))}",
        f"  spacing mm    {listed}{', …' if len(spacings) > MAX_SPACINGS else ''}",
        f"  SUVmax        median {median(highest):.4g}, {min(highest):.4g} to {max(highest):.4g}",
        f"  label values  {', '.join(map(str, values)) or 'only 0'}",
    ]
    if volumes_ml:
        spread = f"{min(volumes_ml):.4g} to {max(volumes_ml):.4g}"
        lines.append(f"  lesion ml     median {median(volumes_ml):.4g}, {spread}, where there are lesions")
    if absent := set.intersection(*(set(finding.absent_labels) for finding in read)):
        lines.append(f"  remark        lesion values that no label has: {', '.join(map(str, sorted(absent)))}")
    return lines


def _remarks_about_names(findings: Sequence[Finding]) -> list[str]:
    """Name patients who may be the same one."""
    pairs = shared_stems(finding.patient for finding in findings)
    if not pairs:
        return []
    more = f" (and {len(pairs) - 1} more such names)" if pairs[1:] else ""
    return [
        f"{pairs[0][0]} and {pairs[0][1]}{more} count as different patients; if they are scans of one patient, group "
        "them with --patient REGEX"
    ]


def _bad(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.problem]
