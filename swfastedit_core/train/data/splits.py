"""Splits into a training set and a validation set, by patient: all scans of a patient are in the same set."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing
from swfastedit_core.train.data.sources import Source

TRAIN, VALIDATION, NNUNET_VALIDATION = "train", "validation", "val"
UNUSED = "cases that cannot be used"
EXPECTED = f'expected {{"{TRAIN}": [names], "{VALIDATION}": [names]}}, or nnU-Net\'s list of these, one for each fold'
MAX_NAMED = 3

Split = tuple[list[Source], list[Source]]


def parse_fold(text: str) -> tuple[int, int]:
    """Read ``K/N``: fold K, counted from 0, of N.

    Raises
    ------
    UserError
        If it is anything else, N is less than 2, or K is not less than N.
    """
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    fold, folds = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 <= fold < folds or folds < 2:
        raise UserError(f"fold {text!r}: expected K/N with N from 2 on and K from 0 to N-1, such as 0/5")
    return fold, folds


def fold_of(patient: str, folds: int) -> int:
    """Return the fold that holds out a patient, 0 to `folds` - 1.

    It is the SHA-256 of the name (UTF-8), as a big-endian number, modulo the number of folds. It does not depend on the
    other patients, so no patient changes sets when cases are added. Folds are therefore not of equal size.
    """
    return int(hashlib.sha256(patient.encode(errors="surrogateescape")).hexdigest(), 16) % folds


def split(sources: Sequence[Source], *, fold: tuple[int, int] | None = None, split_file: Path | None = None) -> Split:
    """Split cases into the training set and the validation set.

    Parameters
    ----------
    sources
        All cases.
    fold
        (K, N): fold K of N is the validation set. Phantoms are in the validation set only if there are no patients,
        because a score on phantoms says little about patients. With a split file that lists folds, K is the index of
        the fold in this file.
    split_file
        JSON: ``{"train": [...], "validation": [...]}``, as `write_split` writes it, or nnU-Net's splits_final.json, a
        list of these with ``val``, from which `fold` chooses. Entries are patients or cases. If there are
        patients, phantoms that it does not name are in the training set.

    Returns
    -------
    training, validation : list of Source
        In the order of `sources`. Without `fold` and `split_file`, all cases are in the training set.

    Raises
    ------
    UserError
        If the file cannot be read, does not fit the fold, names an unknown patient, has a patient in both sets or
        leaves a case out; or if a set is empty although a split was asked for.
    """
    if fold is None and split_file is None:
        return list(sources), []
    where = name_of_split(fold=fold, split_file=split_file)
    if split_file is not None:
        held_out = _held_out(_read_split(split_file, fold), sources, split_file)
    else:
        number, folds = fold or (0, 0)
        everyone = {source.patient for source in _patients_or_phantoms(sources)}
        held_out = {patient for patient in everyone if fold_of(patient, folds) == number}
    sets = (
        [source for source in sources if source.patient not in held_out],
        [source for source in sources if source.patient in held_out],
    )
    for cases, name in zip(sets, ("training set", "validation set"), strict=True):
        if not cases:
            patients = len({source.patient for source in sources})
            raise UserError(
                f"{where}: the {name} is empty, found {patients} patients in all; choose another fold, or use a split "
                "file"
            )
    return sets


def split_off_test_set(sources: Sequence[Source]) -> Split:
    """Split cases into the training set and the cases of imagesTs.

    Raises
    ------
    UserError
        If there is no case of imagesTs, or a patient has scans in both sets.
    """
    sets = tuple([source for source in sources if source.in_test_set == in_test_set] for in_test_set in (False, True))
    if not sets[1]:
        raise UserError("--validate-on imagesTs: no data set of the layout images has a folder imagesTs")
    if both := set.intersection(*({source.patient for source in cases} for cases in sets)):
        raise UserError(
            f"imagesTs: patient {_some(both)} is in imagesTr, too; all scans of a patient belong in one set: remove "
            "them from one of the folders"
        )
    return sets[0], sets[1]


def limit_cases(sources: Sequence[Source], limit: int | None) -> list[Source]:
    """Return the first cases of each data set, at most `limit` of each; None returns all."""
    counts: Counter[str] = Counter()
    kept = []
    for source in sources:
        counts[source.group] += 1
        if limit is None or counts[source.group] <= limit:
            kept.append(source)
    return kept


def name_of_split(*, fold: tuple[int, int] | None, split_file: Path | None) -> str:
    """Return the name of a split in messages: its file or its fold; empty if there is none."""
    if split_file is not None:
        return str(split_file)
    return "" if fold is None else f"fold {fold[0]}/{fold[1]}"


def write_split(
    path: Path, training: Sequence[Source], held_out: Sequence[Source], *, unused: Sequence[str] = ()
) -> None:
    """Write a split by patients, in the form that `split` reads; without phantoms if there are patients.

    The sets include the cases that cannot be used. These cases are also listed under their own key.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    counted = set(_patients_or_phantoms([*training, *held_out]))
    sets = {
        name: sorted({source.patient for source in cases if source in counted})
        for name, cases in ((TRAIN, training), (VALIDATION, held_out))
    }
    if unused:
        sets[UNUSED] = sorted(unused)
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(sets, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _read_split(path: Path, fold: tuple[int, int] | None) -> tuple[list[str], list[str]]:
    """Return the names in both sets, as they are in the file."""
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error}); {EXPECTED}") from error
    if isinstance(content, list):
        if fold is None or fold[1] != len(content):
            given = "no fold" if fold is None else f"fold {fold[0]}/{fold[1]}"
            raise UserError(f"{path}: has {len(content)} folds; use --fold K/{len(content)} (found: {given})")
        content = content[fold[0]]
    elif fold is not None:
        raise UserError(f"{path}: is a single split, and fold {fold[0]}/{fold[1]} was asked for; use one of them")
    if not isinstance(content, dict):
        raise UserError(f"{path}: {EXPECTED}")
    train, validation = content.get(TRAIN), content.get(VALIDATION, content.get(NNUNET_VALIDATION))
    for names in (train, validation):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: {EXPECTED}")
    return train, validation  # type: ignore[return-value] # mypy does not follow the loop


def _held_out(names: tuple[list[str], list[str]], sources: Sequence[Source], path: Path) -> set[str]:
    """Return the patients of the validation set; refuse a file that does not put every patient in exactly one set."""
    known = {name for source in sources for name in (source.patient, source.case)}
    if unknown := [name for entries in names for name in entries if name not in known]:
        raise UserError(f"{path}: unknown patient or case: {_some(unknown)}")
    train, validation = (set(entries) for entries in names)
    training = {source.patient for source in sources if {source.patient, source.case} & train}
    held_out = {source.patient for source in sources if {source.patient, source.case} & validation}
    if both := training & held_out:
        raise UserError(f"{path}: patient {_some(both)} is in both sets; all scans of a patient belong in one")
    named = train | validation
    expected = _patients_or_phantoms(sources)
    if missing := [source.case for source in expected if not {source.patient, source.case} & named]:
        case, is_, it = ("case", "is", "it") if len(missing) == 1 else ("cases", "are", "them")
        raise UserError(
            f"{path}: {case} {_some(missing)} {is_} in neither set; add {it}, or leave {it} out of the data"
        )
    return held_out


def _patients_or_phantoms(sources: Sequence[Source]) -> Sequence[Source]:
    """Return the patients' cases; the phantoms if there are no patients."""
    return [source for source in sources if source.phantom_seed is None] or sources


def _some(names: Iterable[str]) -> str:
    """List a few names for a message."""
    ordered = sorted(names)
    return ", ".join(ordered[:MAX_NAMED]) + (f" and {len(ordered) - MAX_NAMED} more" if ordered[MAX_NAMED:] else "")
