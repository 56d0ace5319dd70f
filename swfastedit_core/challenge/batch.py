"""Scans that a command line names: one, or many of which a bad one does not stop the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from swfastedit_core.challenge.api_methods import load, segment_cases
from swfastedit_core.challenge.case import Case
from swfastedit_core.challenge.cases import add_reports, check_case, file_id
from swfastedit_core.challenge.options import Options
from swfastedit_core.challenge.scans import BadScan, find_scans
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Stopped, attempt, say


def segment_scans(options: Options, *, stderr: TextIO) -> None:
    """Segment the scans that the options name.

    A single scan is checked before the networks are loaded; if it fails, the command fails. Of several scans,
    those that can be used are segmented. The others have a line of JSON each with `pet` and `error`, and at the end a
    line on `stderr`.

    Raises
    ------
    UserError
        If a scan has no mask, or no report if one is wanted.
    """
    cases, bad = find_scans(options.pets, options.output, notice=_skip if options.quiet else _say_notice)
    total = len(cases) + len(bad)
    cases = add_reports(cases, options.output, options)
    if (len(cases), total) != (1, 1):
        _require_no_file_of_one_scan(options, total)
    if total == 1:
        _segment_one(cases, bad, options)
    else:
        _segment_several(cases, bad, options, stderr)


def _require_no_file_of_one_scan(options: Options, total: int) -> None:
    if options.ct is not None:
        raise UserError(f"--ct {options.ct}: is the CT of one scan, and {total} are named; call the program for each")
    if options.clicks:
        raise UserError(
            f"--clicks {options.clicks[0]}: has the clicks on one scan, and {total} are named; call the program for "
            "each"
        )


def _segment_one(cases: list[Case], bad: list[BadScan], options: Options) -> None:
    for scan in bad:
        raise UserError(scan.reason)
    case = replace(cases[0], ct=options.ct, clicks=options.clicks)
    check_case(case, options)
    networks, seconds = load(options, interactive=options.interactive, clicks=case.clicks)
    segment_cases([case], networks, options, before=seconds)


def _segment_several(cases: list[Case], bad: list[BadScan], options: Options, stderr: TextIO) -> None:
    total, bad = len(cases) + len(bad), list(bad)
    scans = {found for case in cases if (found := file_id(case.pet))}
    for scan in bad:
        _say_bad(scan)
    usable = [case for case in cases if _works(case.pet, bad, partial(check_case, case, options, others=scans))]
    done = 0
    try:
        if usable:
            networks, seconds = load(options)
            if networks.ct_network is not None:
                raise UserError(
                    f"{networks.ct_network.source} takes PET and CT, and {total} scans are named; call the program for "
                    "each scan, with its CT as --ct FILE"
                )
        for case in usable:
            done += _works(case.pet, bad, partial(segment_cases, [case], networks, options, before=seconds))
    except (KeyboardInterrupt, Stopped) as stopped:
        stopped.add_note(f"{done} of {total} masks are written")
        raise
    if bad:
        for scan in bad:
            with suppress(OSError):
                print(scan.reason, file=stderr)
        what = "mask" if options.report is None else "mask, or no report,"
        raise UserError(f"no {what} for {len(bad)} of {total} scans")


def _works(pet: Path, bad: list[BadScan], work: Callable[[], object]) -> bool:
    """Do work for a scan; if it fails, print and append the reason."""
    failure = attempt(work)
    if failure:
        bad.append(BadScan(pet, failure.reason))
        _say_bad(bad[-1])
    return failure is None


def _say_notice(line: str) -> None:
    say(f"notice: {line}")


def _skip(_: str) -> None:
    """Print nothing, as --quiet asks."""


def _say_bad(scan: BadScan) -> None:
    say(json.dumps({"pet": str(scan.pet), "error": scan.reason}, ensure_ascii=False))
