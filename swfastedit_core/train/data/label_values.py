"""Label values that look wrong: in one case, and compared with the other cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from swfastedit_core.train.data.findings import Finding

MANY_VALUES = 20  # 0 is one of them
LARGEST_SHARE = 0.5  # of the volume; a body fills less than half of a scan
RARE = 0.05  # share of the cases with a label value; below it, the value is named
NUMBERED_LENGTHS = 3  # different numbers of lesions that show that the values number the lesions of a case


def doubts_about_label(values: Sequence[int], *, lesion_share: float) -> list[str]:
    """Say what speaks against a mask of lesions.

    Parameters
    ----------
    values
        Values in the label's file except 0.
    lesion_share
        Share of the volume that is lesion.

    Returns
    -------
    list of str
        A sentence for each doubt.
    """
    doubts = []
    if len(values) + 1 > MANY_VALUES:
        doubts.append(
            f"{len(values) + 1} different values in the label, from {min(*values, 0):,} to {max(values):,}; is it an "
            "image, or are the lesions numbered?"
        )
    if lesion_share > LARGEST_SHARE:
        doubts.append(
            f"the lesions of the label cover {100 * lesion_share:.0f} % of the volume; is the label inverted, or does "
            "it outline the body?"
        )
    return doubts


def remark_rare_values(findings: Sequence[Finding]) -> list[Finding]:
    """Add a remark to each case with a label value that few other cases of its data set have.

    Labels without lesions do not count. In a data set that numbers the lesions of each case from 1 on, no value is
    rare.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.label_values and not finding.problem:
            groups.setdefault(finding.group, []).append(finding)
    rare = {group: _rare_values(cases) for group, cases in groups.items() if not _are_numbered(cases)}
    return [_remarked(finding, rare.get(finding.group, {})) for finding in findings]


def _rare_values(cases: Sequence[Finding]) -> dict[int, str]:
    """Return the rare values of a data set, each with how many cases have it."""
    if len(cases) < 2:
        return {}
    counts = Counter(value for case in cases for value in case.label_values)
    return {
        value: "which no other case has" if count == 1 else f"which {count} of {len(cases)} cases have"
        for value, count in counts.items()
        if count == 1 or count < RARE * len(cases)
    }


def _are_numbered(cases: Sequence[Finding]) -> bool:
    """Whether the values of every case are 1, 2, … without a gap, with different ends."""
    ends = {case.label_values[-1] for case in cases}
    consecutive = all(case.label_values == tuple(range(1, len(case.label_values) + 1)) for case in cases)
    return consecutive and len(ends) >= NUMBERED_LENGTHS


def _remarked(finding: Finding, rare: dict[int, str]) -> Finding:
    odd = [f"{value}, {rare[value]}" for value in finding.label_values if value in rare]
    if not odd or finding.problem:
        return finding
    text = f"the label has the value {odd[0]}" + (f"; and {len(odd) - 1} more rare values" if odd[1:] else "")
    return replace(finding, remark="; ".join(filter(None, (finding.remark, text))))
