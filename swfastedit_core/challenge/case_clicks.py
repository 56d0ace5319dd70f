"""The click file of the platform's folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swfastedit_core.challenge.case import Case
from swfastedit_core.challenge.interface import PET, TASKS, click_notice
from swfastedit_core.challenge.options import Options
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import say

if TYPE_CHECKING:
    from swfastedit_core.engine.ensemble import Ensemble


def add_clicks(cases: list[Case], networks: Ensemble, options: Options) -> list[Case]:
    """Add the click file of the platform's folder, if the challenge has one and a network takes clicks.

    Otherwise a notice says that clicks are not used, and the masks are those of automatic networks. Scans of the
    command line keep the files that it names.

    Raises
    ------
    UserError
        If the file is no click file, a click lies outside the scan, or there are several scans and clicks.
    """
    from swfastedit_core.click_files import read_clicks_inside
    from swfastedit_core.files.geometry import read_geometry

    task = TASKS[options.task]
    if options.pets or task.clicks is None:
        return cases
    file = options.input / task.clicks
    if not networks.takes_clicks:
        _notice(click_notice(options.input, task), options)
        return cases
    if not file.exists():
        _notice(f"{file}: no such file; the networks take clicks, and get none", options)
        return cases
    clicks = [read_clicks_inside([file], read_geometry(case.pet, form=options.case.geometry)) for case in cases]
    if len(cases) > 1 and any(clicks):
        raise UserError(f"{file}: has the clicks of one scan, and {options.input / PET} has {len(cases)} scans")
    return [replace(case, clicks=(file,)) for case in cases]


def _notice(line: str | None, options: Options) -> None:
    if line and not options.quiet:
        say(f"notice: {line}")
