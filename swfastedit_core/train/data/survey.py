"""The survey: every case is read before the first step, so that a bad one does not stop a run after days."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from swfastedit_core.components import count_components
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.geometry import read_geometry
from swfastedit_core.preprocess import place
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.isolated import map_isolated
from swfastedit_core.train.data.channels import describe_swap, looks_like_ct
from swfastedit_core.train.data.duplicates import digest_of
from swfastedit_core.train.data.findings import Finding
from swfastedit_core.train.data.label_values import doubts_about_label
from swfastedit_core.train.data.sources import Scan, Source, read_source

FORMAT = 2  # of the cache; increase it when a finding changes

Spacing = tuple[float, float, float]


def survey(
    sources: Sequence[Source],
    *,
    spacing_mm: Spacing,
    with_ct: bool,
    workers: int,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Finding]:
    """Read every case once, as training will, and return the findings. Phantoms are not read.

    Parameters
    ----------
    sources
        The cases.
    spacing_mm
        The network's; a case must not be too large at that spacing.
    with_ct
        Whether each case needs a CT.
    workers
        Number of processes. Each holds one case in memory at a time.
    cache
        JSON file with the findings of earlier surveys. A case is read again if the size or time of one of its files
        changed, or if it had a problem. A damaged cache is replaced.
    progress
        Called with a line for every case that was read.

    Returns
    -------
    list of Finding
        In the order of `sources`.

    Raises
    ------
    UserError
        If the cache cannot be written. A problem with a case is part of its finding and raises nothing.
    """
    known = _read_cache(cache) if cache else {}
    keys = [_key(source, spacing_mm=spacing_mm, with_ct=with_ct) for source in sources]
    findings = {index: known[key] for index, key in enumerate(keys) if key in known}
    findings |= {
        index: _phantom(source, with_ct=with_ct)
        for index, source in enumerate(sources)
        if source.phantom_seed is not None
    }
    unread = [index for index in range(len(sources)) if index not in findings]
    try:
        work = partial(examine, spacing_mm=spacing_mm, with_ct=with_ct)
        for number, result in map_isolated(work, [sources[index] for index in unread], workers=workers):
            finding = result or _killed(sources[unread[number]])
            findings[unread[number]] = finding
            if progress:
                progress(f"surveyed {finding.case}: {finding.problem or f'{finding.lesion_ml:.1f} ml of lesions'}")
    finally:  # findings are kept, even if the survey is interrupted
        if cache and unread:
            good = {keys[i]: one for i, one in findings.items() if one.size_xyz and not one.problem}
            _write_cache(known | good, cache)
    return [findings[index] for index in range(len(sources))]


def examine(source: Source, *, spacing_mm: Spacing, with_ct: bool) -> Finding:
    """Read one case and return its finding. An error is stored as `problem` of the finding."""
    finding = Finding(source.case, source.group, source.patient)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        try:
            if source.pet:
                geometry = read_geometry(source.pet, form=source.form)
                finding = replace(finding, size_xyz=geometry.size_xyz, spacing_mm=geometry.spacing_mm)
                place(geometry, spacing_mm)
            finding = _examine_voxels(finding, source, with_ct=with_ct)
        except UserError as error:
            return replace(finding, problem=_one_line(str(error)).removeprefix(f"{source.case}: "))
        # A library can raise anything for an unexpected file. The survey continues with the other cases.
        except Exception as error:
            return replace(finding, problem=_one_line(f"cannot be read ({type(error).__name__}: {error})"))
    if finding.problem:
        return finding
    remarks = [_one_line(str(entry.message)) for entry in caught if issubclass(entry.category, DataWarning)]
    return replace(finding, remark="; ".join(filter(None, (*remarks, finding.remark))))


def problem_of_values(scan: Scan, source: Source) -> str:
    """Return why the values of a PET cannot be used: all are equal, or they are those of a CT; else empty."""
    low, high = float(scan.pet.array_zyx.min()), float(scan.pet.array_zyx.max())
    if low == high:
        return f"{source.pet}: every voxel is {low:g}, there is no image in it"
    if looks_like_ct(low, high):
        assert source.pet
        return describe_swap(source.pet, source.ct, low)
    return ""


def _phantom(source: Source, *, with_ct: bool) -> Finding:
    problem = "a phantom has no CT" if with_ct else ""
    return Finding(source.case, source.group, source.patient, problem=problem)


def _killed(source: Source) -> Finding:
    problem = "the process that read it was killed; free some memory, or check whether a file is damaged"
    return Finding(source.case, source.group, source.patient, problem=problem)


def _examine_voxels(finding: Finding, source: Source, *, with_ct: bool) -> Finding:
    scan = read_source(source, with_ct=with_ct)
    suv, label = scan.pet.array_zyx, scan.label.array_zyx
    if problem := problem_of_values(scan, source):
        return replace(finding, problem=problem)
    voxels = int(np.count_nonzero(label))
    return replace(
        finding,
        suv_max=float(suv.max()),
        lesions=count_components(label),
        lesion_voxels=voxels,
        lesion_ml=voxels * scan.pet.geometry.voxel_ml,
        label_values=scan.label_values,
        absent_labels=tuple(sorted(set(source.lesion_labels) - set(scan.label_values))),
        content=digest_of(scan.pet),
        remark="; ".join(doubts_about_label(scan.label_values, lesion_share=voxels / label.size)),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _key(source: Source, *, spacing_mm: Spacing, with_ct: bool) -> str:
    """Return the cache key of a case. It changes if a file or a setting changes."""
    files = [file_state(path) for path in (source.pet, source.label, source.ct if with_ct else None)]
    content = json.dumps([FORMAT, asdict(source), spacing_mm, with_ct, files], default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def file_state(path: Path | None) -> list[str | int]:
    """Return name, size and time of a file, by which a change is noticed; empty if there is no such file."""
    try:
        return [str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] if path else []
    except OSError:
        return []


def _read_cache(path: Path) -> dict[str, Finding]:
    """Return the findings in a cache; none where the file is missing or damaged."""
    try:
        entries: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        return {
            key: Finding(**{name: _hashable(value) for name, value in entry.items()}) for key, entry in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _hashable(value: Any) -> Any:
    """Turn JSON's lists back into tuples."""
    return tuple(value) if isinstance(value, list) else value


def _write_cache(findings: dict[str, Finding], path: Path) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({key: asdict(finding) for key, finding in findings.items()}))
    except OSError as error:
        raise UserError(f"{path}: the findings cannot be written there ({error.strerror})") from error
