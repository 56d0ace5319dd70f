"""Which scans are of the same patient, by the names of the cases."""

from __future__ import annotations

import re
from collections.abc import Iterable

from swfastedit_core.errors import UserError

AUTOPET = re.compile(r"(fdg|psma|PETCT)_([^_]+)_.+")
# The part of a name that tells scans of one patient apart: a word for a visit, or a date.
VISIT = re.compile(
    r"[_\-. /](?:(?:ses|session|visit|scan|study|exam|tp|timepoint|time|baseline|followup|follow-up|fu|pre|post|v|t)"
    r"(?:[_-]?\d+)?|(?:19|20)\d\d[_\-.]?\d\d[_\-.]?\d\d|\d\d[_\-.]\d\d[_\-.](?:19|20)\d\d)(?=[_\-. /]|$)",
    re.IGNORECASE,
)
# A number of a scan behind the number of a patient, such as 1 in P07_1. In "STS_002" nothing tells that 002 is a scan.
SCAN_NUMBER = re.compile(r"(.*\d)[_\-. /](?:\d{1,2}|[a-z])", re.IGNORECASE)
MAX_SCANS = 4  # of a patient, on average; names with more behind one stem rather number the patients of a centre


def patient_of(case: str) -> str:
    """Return the patient of a case by its file name: the whole name, unless it has autoPET's pattern.

    The FDG scans of autoPET have three names: ``PETCT_<patient>/<study>`` on TCIA, ``fdg_<patient>_<study>`` in
    autoPET III, and ``PETCT_<patient>_<study>`` by nnU-Net's conversion. All get TCIA's name of the patient, so that
    no patient is in the training set under one name and in the validation set under another.
    """
    match = AUTOPET.fullmatch(case)
    if match is None:
        return case
    prefix, patient = match.groups()
    return str(patient) if prefix == "psma" else f"PETCT_{patient}"


def parse_pattern(text: str) -> str:
    """Check a regular expression for `patient_by`; return it.

    Raises
    ------
    UserError
        If it is not valid, or does not have exactly one capture group.
    """
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise UserError(f"--patient {text!r}: is not a regular expression ({error})") from error
    if groups != 1:
        raise UserError(
            f"--patient {text!r}: has {groups} capture groups, expected one around the patient's part of the name, "
            "such as '(.+)_ses-.*'"
        )
    return text


def patient_by(pattern: str, case: str) -> str:
    """Return the part of a case's name that names the patient: the capture group where the pattern first matches.

    Raises
    ------
    UserError
        If the pattern does not match, or the group is empty.
    """
    match = re.search(pattern, case)
    if match is None or not match[1]:
        raise UserError(f"--patient {pattern!r}: finds no patient in the name of case {case}")
    return match[1]


def shared_stems(patients: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of patients' names that may be two scans of one patient, one pair for each stem.

    Parameters
    ----------
    patients
        Names that count as different patients.

    Returns
    -------
    list
        The first two names of each stem, such as ``sub-01_ses-1`` and ``sub-01_ses-2``.
    """
    names = sorted(set(patients))
    visits = _by_stem((match and name[: match.start()], name) for name in names for match in [VISIT.search(name)])
    if len(visits) == 1 and not any(map(str.isdigit, next(iter(visits)))):  # "pet_scan_1": no patient is named
        visits = {}
    rest = [name for name in names if not VISIT.search(name)]
    numbers = _by_stem((match and match[1], name) for name in rest for match in [SCAN_NUMBER.fullmatch(name)])
    if len(numbers) < 2 or sum(map(len, numbers.values())) > MAX_SCANS * len(numbers):
        numbers = {}
    return [(group[0], group[1]) for group in (*visits.values(), *numbers.values()) if len(group) > 1]


def _by_stem(pairs: Iterable[tuple[str | None, str]]) -> dict[str, list[str]]:
    """Collect names by their stems; names without a stem are left out."""
    groups: dict[str, list[str]] = {}
    for stem, name in pairs:
        if stem:
            groups.setdefault(stem, []).append(name)
    return groups
